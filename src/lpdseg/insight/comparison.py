"""The report of several runs side by side: one HTML file, whatever their methods."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.data.records import Manifest
from lpdseg.durations import duration
from lpdseg.errors import SettingsError
from lpdseg.evaluation.bootstrap import paired_difference
from lpdseg.evaluation.protocol import Record, difference_text, interval_text
from lpdseg.evaluation.worst import PatchFigures
from lpdseg.files import write_text
from lpdseg.insight import figures
from lpdseg.insight.curves import Series, line_chart
from lpdseg.insight.data_card import data_card
from lpdseg.insight.page import render
from lpdseg.insight.report import METHOD_NAMES, write_report
from lpdseg.insight.report_parts import Looked, atlas_plates, licences, look_at_each, worst_patches
from lpdseg.insight.run_record import read_run, run_names
from lpdseg.outputs import PAGE, check_file
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import Settings, parse_settings
from lpdseg.sharing.folder import is_bundle
from lpdseg.sharing.hub import local
from lpdseg.training.metrics import read_metrics


def page_place(folders: Sequence[Path], out: str | Path | None) -> Path:
    """Where the page about runs goes: `out`, or `report.html` in the folder of the one run.

    **Raises:** `SettingsError` for several runs, or a bundle, without `out`; `OutputError` where something else is
    there.
    """
    if out is None and len(folders) > 1:
        raise SettingsError("several runs have no folder in common for their page; name it with out (--out)")
    if out is None and is_bundle(local(folders[0])):
        raise SettingsError(f"{folders[0]} is a bundle, which stays as it is; name the page with out (--out)")
    path = folders[0] / "report.html" if out is None else Path(out)
    check_file(path, PAGE)
    return path


def write_page(
    folders: Sequence[Path],
    segmenters: Sequence[Segmenter],
    records: Sequence[list[Record]],
    data: Manifest,
    out: str | Path | None,
    *,
    split: str | None,
    images: int = 6,
    patches: Sequence[Sequence[PatchFigures]] = (),
) -> Path:
    """Writes the report of a run, see `write_report`, or one page of several runs of the same classes.

    **Arguments:**

    - `folders`, `segmenters`, `records`: of each run; the first of its records is headlined.
    - `out`: the page; None: `report.html` in the folder of the first run.
    - `split`: whose patches are shown; None shows none, for data without masks.
    - `images`: how many patches of a run are shown, and of several of the worst.
    - `patches`: figures of each patch of the split, of every run; nothing: they are computed here.

    **Returns:** the path of the page.

    **Raises:** `CheckpointError` where a folder has no readable `run.json`; `OutputError` where the file cannot be
    written.
    """
    path = page_place(folders, out)
    if len(folders) == 1:
        own = patches[0] if patches else None
        shown: dict[str, Any] = {"split": split, "images": images, "patches": own}
        write_report(folders[0], segmenters[0], data, records[0], path, **shown)
        return path
    classes, names = segmenters[0].classes, run_names(folders)
    described = [read_run(folder) for folder in folders]
    settings = [
        parse_settings(one["settings"], source=str(folder / "run.json"))
        for one, folder in zip(described, folders, strict=True)
    ]
    worst = None
    if split is not None:
        known = patches or [look_at_each(one, data, split) for one in segmenters]
        looked = [Looked(*one) for one in zip(names, segmenters, known, strict=True)]
        worst = worst_patches(looked, data, split, images)
    heads = [next(iter(one), None) for one in records]
    atlases = [atlas_plates(run, one, [data.root]) for run, one in zip(folders, segmenters, strict=True)]
    text = render(
        "comparison.html.j2",
        name=data.root.resolve().name,
        names=names,
        runs=[
            _facts(name, one, chosen)
            for name, one, chosen in zip(names, described, settings, strict=True)
        ],
        figures=figures,
        classes=classes,
        legend=figures.legend(classes),
        heads=heads,
        class_table=[] if split is None else list(
            zip(*(figures.class_rows(head, classes) for head in heads if head is not None), strict=True)
        ),
        oracle=[next((entry for entry in one if entry["gate"] == "oracle"), None) for one in records],
        differences=[None, *(_difference(heads[0], head, len(classes)) for head in heads[1:])],
        headline=heads[0],
        chosen=all(one.get("valid_miou") is not None for one in described),
        worst=worst,
        atlases=[(name, plates) for name, plates in zip(names, atlases, strict=True) if plates is not None],
        charts=_charts(names, folders),
        card=data_card(data),
        differing=_differing(settings),
        licences=licences(folders),
    )  # fmt: skip
    write_text(path, text)
    return path


def _difference(first: Record | None, other: Record | None, tissue: int) -> figures.Figure | None:
    """mIoU of a run less that of the first, with its interval over the same patients."""
    if first is None or other is None or first["by_patient"] is None or other["by_patient"] is None:
        return None
    patients = list(first["by_patient"])
    ours, theirs = (np.array([[one["by_patient"][p] for p in patients]]) for one in (other, first))
    found = paired_difference(ours, theirs, tissue, first["background"])
    ends = found.interval
    told = interval_text(None if ends is None else [100 * end for end in ends], sign=True)
    return figures.Figure(difference_text(100 * found.value), told)


def _facts(name: str, described: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    seconds, weights = described.get("seconds"), settings.model.weights
    return {
        "name": name,
        "method": METHOD_NAMES[settings.method],
        "encoder": settings.model.encoder,
        "weights": "random" if weights is None else Path(weights).name,
        "seed": described["seed"],
        "steps": described.get("step", described.get("steps", 0)),
        "status": described["status"],
        "took": "–" if seconds is None else f"{duration(seconds)} on {described['hardware']['device']}",
        "parameters": described.get("parameters", 0),
        "patches": described["data"]["patches"].get("train", 0),
        "fingerprint": described["data"]["fingerprint"],
        "versions": described["versions"],
    }


def _charts(names: Sequence[str], folders: Sequence[Path]) -> list[figures.Chart]:
    rows = [read_metrics(folder) for folder in folders]
    charts = []
    for kind, key, title in (("valid", "miou", "validation mIoU, per cent"), ("train", "loss", "total loss")):
        told = [[row for row in one if row["kind"] == kind and row.get(key) is not None] for one in rows]
        lines = [
            Series(name, tuple((row["step"], row[key]) for row in one))
            for name, one in zip(names, told, strict=True)
            if one
        ]
        if lines:
            svg = line_chart(lines, title=title, dots=kind == "valid", width=720, height=240)
            charts.append(figures.Chart(title, svg))
    return charts


def _differing(settings: Sequence[Settings]) -> list[tuple[str, list[str]]]:
    """The settings in which runs differ, by their full names, with the value of each run."""
    flat = [_flat(one.model_dump(mode="json")) for one in settings]
    names = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, [one.get(name, "–") for one in flat]) for name in names]
    return [(name, [_short(one) for one in values]) for name, values in rows if len(set(map(str, values))) > 1]


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found

"""The report of a run: one HTML file that says what was trained, how well it works, and what that looks like."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.choices import MethodName
from lpdseg.data.records import Manifest
from lpdseg.durations import duration
from lpdseg.evaluation.protocol import Record
from lpdseg.evaluation.worst import PatchFigures
from lpdseg.files import write_text
from lpdseg.insight import figures
from lpdseg.insight.data_card import data_card
from lpdseg.insight.evidence import class_maps, has_prototypes, prototypes_of
from lpdseg.insight.page import render
from lpdseg.insight.pictures import (
    heat_palette,
    indexed_uri,
    number_palette,
    quantise,
    rgb_uri,
)
from lpdseg.insight.prototypes import view_prototypes
from lpdseg.insight.ranks import rank, spread
from lpdseg.insight.report_parts import GATE, Looked, atlas_plates, licences, look_at_each, worst_patches
from lpdseg.insight.run_record import read_run
from lpdseg.insight.sample import Patch, main_class, segmented
from lpdseg.methods.table import METHODS
from lpdseg.pictures.masks import class_palette, outlines, tint
from lpdseg.pictures.scale_bar import length_text, round_length
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import as_yaml, parse_settings
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.training.changes import read_changes
from lpdseg.training.metrics import read_metrics


def write_report(
    run: str | Path,
    segmenter: Segmenter,
    data: Manifest,
    records: list[Record],
    path: str | Path,
    *,
    split: str | None = "test",
    images: int = 6,
    patches: Sequence[PatchFigures] | None = None,
) -> None:
    """Writes the report of a run to `path`.

    The page needs no other file and no script; pictures are inside it.

    **Arguments:**

    - `run`: the folder that `train` wrote.
    - `segmenter`: what segments the patches shown, under the gate `predicted`.
    - `data`: where the patches come from.
    - `records`: figures, see `lpdseg.evaluation.protocol.record`; the first with the gate `predicted` is headlined.
    - `split`: whose patches are shown; None shows none, for data without masks.
    - `images`: how many patches are shown.
    - `patches`: figures of each patch of the split under that gate, by which they are ranked; None: they are
      computed here.

    **Raises:** `CheckpointError` where `run` has no readable `run.json`, `DataError` where the split has no masks,
    `OutputError` where the file cannot be written.
    """
    run, path = Path(run), Path(path)
    described = read_run(run)
    settings = parse_settings(described["settings"], source=str(run / "run.json"))
    segmenter = segmenter.with_settings(gate=GATE)
    ranked = worst = prototypes = None
    gallery: list[dict[str, Any]] = []
    left_out = False
    if split is not None:
        known = look_at_each(segmenter, data, split) if patches is None else patches
        ranked = rank(known, images, split)
        taken = spread(ranked.patches, images, told=ranked.mixed)  # the worst of all are listed too
        shown = segmented(segmenter, [one.record for _, one in taken], data.classes, split)
        gallery = [
            _picture(reason, 1 - (one.error or 0), patch, segmenter)
            for (reason, one), patch in zip(taken, shown, strict=True)
        ]
        left_out = any((patch.truth == IGNORE).any() for patch in shown)
        worst = worst_patches([Looked("", segmenter, known)], data, split)
        if has_prototypes(segmenter):
            choices = [(reason, patch) for (reason, _), patch in zip(taken, shown, strict=True)]
            prototypes = view_prototypes(segmenter, known, choices, data.classes)
    curves, steps = read_metrics(run), int(described.get("steps", 0))
    headline = _headline(records)
    text = render(
        "report.html.j2",
        run=described,
        name=data.root.resolve().name,
        settings=settings,
        settings_yaml=as_yaml(settings),
        method=METHOD_NAMES[settings.method],
        saw_masks=METHODS[settings.method].needs_masks,
        prototypes_per_class=_counts(segmenter) if has_prototypes(segmenter) else None,
        weights=None if settings.model.weights is None else Path(settings.model.weights).name,
        duration=duration(described["seconds"]) if described.get("seconds") is not None else None,
        records=records,
        headline=headline,
        figures=figures,
        reliability=None if headline is None else figures.reliability_chart(headline),
        classes=segmenter.classes,
        thresholds=segmenter.calibration.thresholds.tolist(),
        legend=figures.legend(segmenter.classes),
        left_out=left_out,
        losses=figures.loss_charts(curves, steps, described.get("losses")),
        validation=figures.validation_chart(curves, steps),
        warmup=figures.warmup_end(curves),
        ranked=ranked,
        split=split,
        gate=segmenter.settings.gate,
        refine=segmenter.settings.refine,
        gallery=gallery,
        prototypes=prototypes,
        worst=worst,
        atlas=atlas_plates(run, segmenter, [data.root]),
        card=data_card(data),
        chosen=described.get("valid_miou") is not None,
        licences=licences([run]),
        changes=read_changes(run),
        winner_colours=[figures.css_colour(colour.tolist()) for colour in number_palette()],
    )
    write_text(path, text)


METHOD_NAMES: Mapping[MethodName, str] = {
    "lpd": "LPD",
    "lpd-released": "LPD as released",
    "cam": "Class activation maps",
    "pbip": "PBIP",
    "supervised": "Full supervision",
}


def _headline(records: Sequence[Record]) -> Record | None:
    """The record that the page puts first: predicted gate, else whatever there is."""
    predicted = [entry for entry in records if entry["gate"] == "predicted"]
    return next(iter([*predicted, *records]), None)


def _counts(segmenter: Segmenter) -> str:
    counts = prototypes_of(segmenter).bank.counts
    if len(set(counts)) == 1:
        return str(counts[0])
    return ", ".join(f"{n} ({name})" for n, name in zip(counts, segmenter.classes.names, strict=True))


def _picture(reason: str, accuracy: float, patch: Patch, segmenter: Segmenter) -> dict[str, Any]:
    """One row of the gallery: a caption, and tiles of (heading, data URI, text for who cannot see it)."""
    classes = segmenter.classes
    palette, main = class_palette(classes), main_class(patch, len(classes))
    found = class_maps(segmenter, patch.image)
    under = tint(patch.image, patch.mask, classes)
    edge = outlines(patch.mask)
    under[edge] = palette[patch.mask[edge]]
    tiles = [
        ("image", rgb_uri(patch.image), f"H&E patch {patch.record.path.name}"),
        ("truth", indexed_uri(patch.truth, palette), f"true mask: {_said(patch.truth, classes)}"),
        ("predicted", indexed_uri(patch.mask, palette), f"predicted mask: {_said(patch.mask, classes)}"),
        ("overlay", rgb_uri(under), "the image under the predicted mask, with its outlines"),
    ]
    for level, maps in found.maps.items():
        height, width = found.sizes[level]
        inside, outside = _mean(maps[main][patch.truth == main]), _mean(maps[main][patch.truth != main])
        tiles.append(
            (
                f"{classes.names[main]}, {height} × {width}",
                indexed_uri(quantise(maps[main]), heat_palette()),
                f"map of {classes.names[main]} at scale {level + 1}: mean {inside} where it truly is, "
                f"{outside} elsewhere",
            )
        )
    return {
        "reason": reason,
        "accuracy": 100 * accuracy,
        "file": patch.record.path.name,
        "patient": patch.record.patient,
        "tiles": tiles,
        "bar": None if patch.record.mpp is None else _scale_bar(patch.record.mpp, patch.image.shape[1]),
    }


def _scale_bar(mpp: float, width: int) -> tuple[float, str]:
    """A bar of a round length below a patch of `width` pixels: its per cent of the width, and its length."""
    microns = round_length(0.4 * width * mpp)
    return 100 * microns / (width * mpp), length_text(microns, "µm")


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" if values.size else "–"


def _said(mask: np.ndarray, classes: TissueClasses) -> str:
    """A mask in words: the share of every channel that is there."""
    shares = np.bincount(mask.ravel(), minlength=256)[: classes.channels] / mask.size
    parts = [
        f"{100 * share:.0f} % {name}" for name, share in zip(classes.channel_names, shares, strict=True) if share
    ]
    return ", ".join(parts) or "nothing that counts"

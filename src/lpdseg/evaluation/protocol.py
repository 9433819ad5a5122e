"""What a figure means and how it is written down: the record of one evaluation, as JSON, CSV and a table.

The keys of a record are public: a list of records is what `lpdseg evaluate` writes. All figures are per cent,
None where there is none.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from rich.table import Table
from rich.text import Text

from lpdseg.choices import Background, Gate
from lpdseg.evaluation.bootstrap import Interval, intervals
from lpdseg.evaluation.confusion import Scores
from lpdseg.evaluation.image_level import ImageLevelScores
from lpdseg.files import write_text
from lpdseg.pictures.html import table_html
from lpdseg.tissue import TissueClasses

_SHORT = 12
"""Digits of a digest that people are shown."""

_LABELS = {"miou": "mIoU", "mdice": "mDice", "fwiou": "FwIoU", "pixel_accuracy": "pixels right"}
_FIGURES = tuple(_LABELS)


class Record(dict[str, Any]):
    """The figures of one evaluation, plain values by name: see `record` for the keys."""

    def __repr__(self) -> str:
        protocol = f"{self.get('split')}, gate {self.get('gate')}, background {self.get('background')}"
        known = [f"{name} {interval_beside(self, name)}" for name in _FIGURES if self.get(name) is not None]
        return f"Record({protocol}: {', '.join(known) or 'no figures'})"

    def _repr_html_(self) -> str:
        return Records([self])._repr_html_()


class Records(list[Record]):
    """Several records, which a notebook shows as a table: a column each."""

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for entry in self for name in entry["classes"]))
        rows = [("per cent [95 % interval]", *(f"{one['split']}, gate {one['gate']}" for one in self))]
        rows += [(_LABELS[name], *(interval_beside(one, name) for one in self)) for name in _FIGURES]
        rows += [
            (f"IoU {name}", *(figure_text(one["classes"].get(name, {}).get("iou")) for one in self))
            for name in names
        ]
        rows += [("image F1", *(figure_text((one["image_level"] or {}).get("f1")) for one in self))]
        notes = dict.fromkeys(note for one in self for note in one.get("notes", ()))
        return table_html("; ".join(notes), rows)


@dataclass(frozen=True)
class Protocol:
    """What must be said beside a figure; figures of different protocols belong in different tables.

    **Arguments:**

    - `split`: the split's name.
    - `gate`: which classes an image may show: those `predicted` for it, those of its ground truth (`oracle`,
      for comparison with published tables only), or all (`none`).
    - `background`: whether pixels whose truth is background count, see `Background`.
    - `refine`: what is done to the maps before argmax, such as `none` or `crf`.
    - `edits`: SHA-256 of the edits of prototypes, in hex digits; None without any.
    - `offsets_data`: fingerprint of the data that offsets were chosen anew on under edits; None: with the run.
    - `offsets`: by class.
    """

    split: str
    gate: Gate = "predicted"
    background: Background = "keep"
    refine: str = "none"
    edits: str | None = None
    offsets_data: str | None = None
    offsets: Mapping[str, float] | None = None


@dataclass(frozen=True)
class About:
    """What is known of a split beside its masks.

    - `unit`: what intervals draw: `patients`, or `files` where patients are unknown and each file counts as one.
    - `notes`: sentences that belong beside its figures.
    """

    unit: str = "patients"
    notes: tuple[str, ...] = ()


def record(
    protocol: Protocol,
    classes: TissueClasses,
    matrices: Int[np.ndarray, "P n n"],
    images: int,
    image_level: ImageLevelScores | None = None,
    *,
    patients: Sequence[str] | None = None,
    about: About | None = None,
    reliability: Mapping[str, Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Record:
    """The figures of one evaluation, ready for JSON.

    **Arguments:**

    - `protocol`: how the masks were made and are counted.
    - `classes`: n is `classes.channels`.
    - `matrices`: one confusion matrix per patient, see `sum_by_patient`.
    - `images`: how many images were compared.
    - `image_level`: the classes' own figures per image, where they were predicted.
    - `patients`: their names, in the order of `matrices`.
    - `about`: what else is known of the split.
    - `reliability`: of the reported probabilities, see `lpdseg.evaluation.reliability.described`.
    - `resamples`, `seed`: of the bootstrap.

    **Returns:**

    - `split`, `gate`, `background`, `refine`, `edits`, `offsets_data`, `offsets`: the protocol.
    - `images`, `patients`: how many; `unit` says whether these are patients, or files where patients are unknown.
    - `classes_in_mean`: over how many classes `miou` is the mean.
    - `notes`: what must be known beside the figures.
    - `miou`, `mdice`, `fwiou`, `pixel_accuracy`: see `Scores`.
    - `classes`: `iou` and `dice` by class name.
    - `background_class`: the same for background, None where it does not count.
    - `image_level`: `f1`, `auc`, and `classes` with both by name; None where not given.
    - `interval`: low and high end (95 %) of the four figures, and `classes`; None with fewer than 2 patients.
    - `confusion`: pixels of the whole split, rows truth, columns prediction.
    - `by_patient`: the same by patient's name, so that methods can be compared patient by patient; None where
      names were not given.
    - `reliability`: as given.
    """
    tissue = len(classes)
    confusion = matrices.sum(0)
    scores = Scores.of(confusion, tissue, protocol.background)
    spread = intervals(matrices, tissue, protocol.background, resamples=resamples, seed=seed)
    per_class = [{"iou": _percent(i), "dice": _percent(d)} for i, d in zip(scores.iou, scores.dice, strict=True)]
    about = about or About()
    background_counts = classes.background is not None and protocol.background == "keep"
    return Record(
        **asdict(protocol),
        images=images,
        patients=len(matrices),
        unit=about.unit,
        classes_in_mean=int((~np.isnan(scores.iou[:tissue])).sum()),
        notes=[*_about_mean(confusion, scores, classes), *about.notes],
        **{name: _percent(getattr(scores, name)) for name in _FIGURES},
        classes=dict(zip(classes.names, per_class, strict=False)),
        background_class=per_class[tissue] if background_counts else None,
        image_level=None if image_level is None else _image_level(image_level, classes.names),
        interval=None
        if spread is None
        else {
            **{name: _percents(getattr(spread, name)) for name in _FIGURES},
            "classes": {
                name: {"iou": _percents(spread.iou[c]), "dice": _percents(spread.dice[c])}
                for c, name in enumerate(classes.names)
            },
        },
        confusion=confusion.tolist(),
        by_patient=None if patients is None else dict(zip(patients, matrices.tolist(), strict=True)),
        reliability=None if reliability is None else dict(reliability),
    )


def _about_mean(confusion: Int[np.ndarray, "n n"], scores: Scores, classes: TissueClasses) -> list[str]:
    """Says over which classes the means are, where the masks do not show all of them."""
    owned = confusion.sum(1) > 0
    absent = [name for name, there in zip(classes.names, owned, strict=False) if not there]
    if not absent:
        return []
    counted = int((~np.isnan(scores.iou[: len(classes)])).sum())
    note = f"means are over {counted} of {len(classes)} classes, for no mask shows {', '.join(absent)}"
    wrongly = len(absent) - (len(classes) - counted)
    if wrongly:
        note += f"; {wrongly} of these count{'s' if wrongly == 1 else ''} as IoU 0, since found nevertheless"
    return [note]


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Writes one row per record: the protocol, counts, figures with `_low` and `_high`, then the classes.

    **Raises:** `OutputError` where the file cannot be written.
    """
    write_rows([_row(entry) for entry in records], path)


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes a CSV. Columns are the union over rows, in order of first appearance; what a row lacks is empty.

    **Raises:** `OutputError` where the file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def table(records: Sequence[Record]) -> Table:
    """The records for a terminal: a column each, intervals in brackets; three fit into 80 characters."""
    names = list(dict.fromkeys(name for entry in records for name in entry["classes"]))
    files = any(entry.get("unit") == "files" for entry in records)
    title = f"per cent [95 % interval over {'files, patients unknown' if files else 'patients'}]"
    whole = Text(title, no_wrap=True, overflow="ignore")  # not wrapped to the width of a single record
    result = Table(title=whole, title_justify="left", show_header=False, box=None, pad_edge=False)
    result.add_column()
    for _ in records:
        result.add_column(justify="right")
    for key in ("split", "gate", "background", "refine"):
        result.add_row(key, *(str(entry[key]) for entry in records))
    for key, label in (("edits", "edits"), ("offsets_data", "offsets from")):
        if any(entry.get(key) for entry in records):
            result.add_row(label, *((entry.get(key) or "")[:_SHORT] for entry in records))
    result.add_row()
    for figure, label in _LABELS.items():
        result.add_row(label, *(interval_beside(entry, figure) for entry in records))
    result.add_row()
    for name in names:
        result.add_row(
            f"IoU {name}", *(figure_text(entry["classes"].get(name, {}).get("iou")) for entry in records)
        )
    result.add_row("image F1", *(figure_text((entry["image_level"] or {}).get("f1")) for entry in records))
    for key, label in (("ece", "ECE"), ("ece_unscaled", "ECE, T = 1")):
        found = [entry.get("reliability") or {} for entry in records]
        if key == "ece" or any(one.get("temperature", 1) != 1 for one in found):
            result.add_row(label, *(figure_text(one.get(key)) for one in found))
    notes = dict.fromkeys(note for entry in records for note in entry.get("notes", ()))
    if notes:
        result.caption, result.caption_justify = Text("\n".join(f"note: {note}" for note in notes)), "left"
    return result


def _image_level(scores: ImageLevelScores, names: Sequence[str]) -> dict[str, Any]:
    return {
        "f1": _percent(scores.mean_f1),
        "auc": _percent(scores.mean_auc),
        "classes": {
            name: {"f1": _percent(scores.f1[c]), "auc": _percent(scores.auc[c])} for c, name in enumerate(names)
        },
    }


def _row(entry: Record) -> dict[str, Any]:
    row = {key: entry[key] for key in ("split", "gate", "background", "refine", "images", "patients")}
    row |= {"edits": entry.get("edits"), "offsets_data": entry.get("offsets_data")}
    row |= {"unit": entry.get("unit"), "classes_in_mean": entry.get("classes_in_mean")}
    spread = entry["interval"] or {}
    for figure in _FIGURES:
        row[figure] = entry[figure]
        row[f"{figure}_low"], row[f"{figure}_high"] = spread.get(figure) or (None, None)
    image_level = entry["image_level"] or {"f1": None, "auc": None, "classes": {}}
    row["image_f1"], row["image_auc"] = image_level["f1"], image_level["auc"]
    reliability = entry.get("reliability") or {}
    row |= {name: reliability.get(name) for name in ("temperature", "ece", "ece_unscaled")}
    for group in (entry["classes"], image_level["classes"]):
        prefix = "" if group is entry["classes"] else "image_"
        row.update({f"{prefix}{key}_{name}": value for name, kv in group.items() for key, value in kv.items()})
    return row


def _percent(value: float | np.floating[Any] | np.ndarray) -> float | None:
    return None if math.isnan(value) else round(100 * float(value), 4)


def _percents(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_percent(end) for end in interval]


def figure_text(value: float | None) -> str:
    """A figure for people, a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def difference_text(value: float | None, form: str = ".2f") -> str:
    """A difference for people: as `figure_text`, with its sign."""
    return "–" if value is None else f"{value:+{form}}".replace("-", "−")


def interval_text(ends: Sequence[float | None] | None, sign: bool = False, form: str = ".1f") -> str:
    """The ends of an interval for people, nothing where there is none: `[80.1, 85.2]`, with one decimal, since none
    is more certain. Of a difference (`sign`) with signs: `[−0.4, +3.2]`.
    """
    if ends is None or None in ends:
        return ""
    form = f"+{form}" if sign else form
    return f"[{', '.join(format(end, form) for end in ends)}]".replace("-", "−")


def interval_beside(entry: Mapping[str, Any], figure: str) -> str:
    """A figure of a record for people, with its interval where it has one: `83.42 [80.1, 85.2]`."""
    return f"{figure_text(entry[figure])} {interval_text((entry.get('interval') or {}).get(figure))}".rstrip()

"""Records and rows of metrics → what the report's tables and charts show. All figures are per cent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lpdseg.evaluation.protocol import Record, interval_text
from lpdseg.evaluation.protocol import figure_text as text
from lpdseg.insight.curves import Series, line_chart
from lpdseg.tissue import TissueClasses

_FIRST: Mapping[str, str] = {"loss": "total loss"}
_LAST: Mapping[str, str] = {"gradient_norm": "gradient norm, before clipping"}
_NO_LOSS = {"kind", "step", "lr", *_FIRST, *_LAST}
_VALID: Mapping[str, str] = {"miou": "mIoU", "mdice": "mDice", "image_f1": "image F1"}


@dataclass(frozen=True)
class Figure:
    """A figure and its interval as text; `–` where there is none."""

    text: str
    interval: str = ""


def figure(entry: Record, name: str) -> Figure:
    """One of the figures of a record that have an interval."""
    ends = (entry["interval"] or {}).get(name)
    return Figure(text(entry[name]), interval_text(ends))


@dataclass(frozen=True)
class ClassRow:
    """A class's figures under one protocol; `low` and `high` are the ends of the IoU's interval."""

    name: str
    colour: str
    iou: float | None
    low: float | None
    high: float | None
    dice: float | None
    f1: float | None
    auc: float | None

    @property
    def interval(self) -> str:
        """The interval as text."""
        return interval_text((self.low, self.high))


def class_rows(entry: Record, classes: TissueClasses) -> list[ClassRow]:
    """One row per class, and one for background where it counts."""
    image_level = (entry["image_level"] or {}).get("classes", {})
    spread = (entry["interval"] or {}).get("classes", {})
    rows = []
    for name, full, colour in zip(classes.names, classes.in_full, classes.colours, strict=False):
        low, high = spread.get(name, {}).get("iou") or (None, None)
        values, image = entry["classes"].get(name, {}), image_level.get(name, {})
        rows.append(
            ClassRow(
                full,
                css_colour(colour),
                values.get("iou"),
                low,
                high,
                values.get("dice"),
                image.get("f1"),
                image.get("auc"),
            )
        )
    if entry["background_class"] is not None:
        values = entry["background_class"]
        shown = css_colour(classes.background_colour)
        rows.append(ClassRow("background", shown, values["iou"], None, None, values["dice"], None, None))
    return rows


@dataclass(frozen=True)
class ConfusionRow:
    """One true channel: its share of the split, and how its pixels were predicted; shares in 0..1."""

    name: str
    colour: str
    share: float
    predicted: tuple[float, ...]


def confusion_rows(entry: Record, classes: TissueClasses) -> list[ConfusionRow]:
    """The confusion matrix, each row divided by its sum; a row without pixels is all 0."""
    total = max(1, sum(map(sum, entry["confusion"])))
    return [
        ConfusionRow(name, colour, sum(row) / total, tuple(count / max(1, sum(row)) for count in row))
        for (name, colour), row in zip(legend(classes), entry["confusion"], strict=True)
    ]


def legend(classes: TissueClasses) -> list[tuple[str, str]]:
    """Name, written out where it is a published abbreviation, and CSS colour of each channel."""
    colours = [*classes.colours, classes.background_colour]
    return [(name, css_colour(colour)) for name, colour in zip(classes.in_full, colours, strict=False)]


def css_colour(colour: Sequence[int]) -> str:
    """RGB in 0..255 → `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


@dataclass(frozen=True)
class Chart:
    """A chart and its heading."""

    title: str
    svg: Markup


def loss_charts(
    rows: Sequence[Mapping[str, Any]], steps: int, titles: Mapping[str, str] | None = None
) -> list[Chart]:
    """One chart for the total and for each of its parts, all over the same steps.

    **Arguments:**

    - `titles`: of the parts, in the order to show them, as the run recorded them; a part without one follows under
      its own name, and one that never was computed has no chart.
    """
    train = [row for row in rows if row["kind"] == "train"]
    first = min((row["step"] for row in train), default=0)
    others = {name: name.replace("_", " ") for row in train for name in row if name not in _NO_LOSS}
    charts = []
    for name, title in {**_FIRST, **(titles or {}), **others, **(titles or {}), **_LAST}.items():
        points = tuple((row["step"], row[name]) for row in train if row.get(name) is not None)
        if points:
            svg = line_chart([Series(title, points)], title=title, x_range=(min(first, 0), max(steps, 1)))
            charts.append(Chart(title, svg))
    return charts


def warmup_end(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The last step told before a loss joins those of the first step; None where none does."""
    train = [row for row in rows if row["kind"] == "train"]
    joined = next((i for i, row in enumerate(train) if set(row) - set(train[0])), 0)
    return train[joined - 1]["step"] if joined else None


def validation_chart(rows: Sequence[Mapping[str, Any]], steps: int) -> Chart | None:
    """mIoU, mDice and image-level F1 of the validation split, with the step that was kept; None without any."""
    valid = [row for row in rows if row["kind"] == "valid" and row.get("miou") is not None]
    if not valid:
        return None
    best = max(valid, key=lambda row: row["miou"])
    series = [
        Series(title, tuple((row["step"], row[name]) for row in valid if row.get(name) is not None))
        for name, title in _VALID.items()
    ]
    svg = line_chart(
        [one for one in series if one.points],
        title="validation figures, per cent",
        dots=True,
        mark=(best["step"], f"best mIoU {best['miou']:.2f}"),
        x_range=(0, max(steps, 1)),
        width=720,
        height=240,
    )
    return Chart("validation figures, per cent", svg)


def reliability_chart(entry: Record) -> Chart | None:
    """How often the likeliest class is right, by how likely it is said to be; None where that was not looked at.

    Bins without pixels are left out; `lpdseg.evaluation.reliability` says what the figures mean.
    """
    found = entry.get("reliability")
    if not found or found["ece"] is None:
        return None
    names = {"bins": f"T = {found['temperature']:g}", "bins_unscaled": "T = 1"}
    if found["temperature"] == 1:
        names = {"bins": "is right"}
    series = [Series("as said", ((0.0, 0.0), (100.0, 100.0)))]
    for key, name in names.items():
        pairs = zip(found[key]["confidence"], found[key]["right"], strict=True)
        series.append(Series(name, tuple((said, right) for said, right in pairs if said is not None)))
    title = "per cent of pixels that are right, by how likely their class is said to be"
    svg = line_chart(series, title=title, x_label="said", dots=True, x_range=(0, 100), width=360, height=240)
    return Chart(title, svg)

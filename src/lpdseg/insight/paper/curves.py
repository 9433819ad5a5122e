"""Losses and validation mIoU of runs over their steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpdseg.insight.paper.sheet import SOFT, Sheet, rgb
from lpdseg.tissue import COLOUR_BLIND, Colour

LINES: tuple[Colour, ...] = tuple(COLOUR_BLIND[place] for place in (1, 0, 6, 7, 4, 3, 5))
"""Of lines on white: the palette of Okabe and Ito without its yellow, which is too pale."""
_DASHES = ("-", "--", ":", "-.")
_ACROSS, _HIGH, _LEFT, _GAP, _TITLE, _FOOT = 3, 36.0, 11.0, 14.0, 6.0, 9.0
_LEGEND = 4.0


@dataclass(frozen=True)
class Trained:
    """A run's name, its rows of metrics, and the titles of its losses in order, see `run.json`."""

    name: str
    rows: Sequence[Mapping[str, Any]]
    titles: Mapping[str, str]


@dataclass(frozen=True)
class _Panel:
    title: str
    kind: str
    key: str


def curves_figure(runs: Sequence[Trained], width: float, parts: bool = False) -> Sheet:
    """Validation mIoU and the total loss; with `parts` every part of the loss as well."""
    panels = [_Panel("validation mIoU, %", "valid", "miou"), _Panel("total loss", "train", "loss")]
    if parts:
        titles = {key: title for run in runs for key, title in run.titles.items()}
        panels += [_Panel(title, "train", key) for key, title in titles.items() if key != "loss"]
    panels = [one for one in panels if any(_points(run, one) for run in runs)]
    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    wide = (width - _LEFT - (across - 1) * _GAP - 3) / across
    named = _LEGEND * len(runs) + 1 if len(runs) > 1 else 0.0
    sheet = Sheet(width, named + down * (_TITLE + _HIGH + _FOOT))
    for place, run in enumerate(runs if len(runs) > 1 else ()):
        _name(sheet, run, place)
    for place, panel in enumerate(panels):
        left = _LEFT + (place % across) * (wide + _GAP)
        top = named + (place // across) * (_TITLE + _HIGH + _FOOT)
        sheet.text(left, top + 3, panel.title, room=wide + _GAP - 3, fontweight="bold")
        axes = sheet.axes(left, top + _TITLE, wide, _HIGH)
        for number, run in enumerate(runs):
            _line(axes, _points(run, panel), number, panel.kind == "valid")
        axes.set_xlabel("step", labelpad=1.5)
        axes.grid(axis="y", linewidth=0.4, color="#dcdfe3")
        axes.set_axisbelow(True)
        axes.margins(x=0.02)
        axes.ticklabel_format(useOffset=False, style="plain")
        axes.locator_params(nbins=4, axis="x")
        axes.locator_params(nbins=5, axis="y")
    return sheet


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of a line, no two alike for 28 runs."""
    return {"color": rgb(LINES[number % len(LINES)]), "linestyle": _DASHES[number // len(LINES) % len(_DASHES)]}


def _points(run: Trained, panel: _Panel) -> list[tuple[float, float]]:
    rows = (row for row in run.rows if row["kind"] == panel.kind)
    return [(float(row["step"]), float(row[panel.key])) for row in rows if row.get(panel.key) is not None]


def _line(axes: Any, points: list[tuple[float, float]], number: int, dots: bool) -> None:
    if not points:
        return
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, marker="o" if dots or len(xs) == 1 else None, markersize=2.2, **look(number))
    if dots:
        best = max(points, key=lambda point: point[1])
        axes.plot(*best, marker="o", markersize=4.2, markerfacecolor="none", markeredgewidth=0.8, **look(number))


def _name(sheet: Sheet, run: Trained, place: int) -> None:
    from matplotlib.lines import Line2D

    y, best = 3 + place * _LEGEND, [row["miou"] for row in run.rows if row.get("miou") is not None]
    ends = [_LEFT / sheet.width, (_LEFT + 8) / sheet.width]
    height = 1 - y / sheet.height
    line = Line2D(ends, [height] * 2, transform=sheet.figure.transFigure, linewidth=1.2, **look(place))
    sheet.figure.add_artist(line)
    told = f"best mIoU {max(best):.1f}" if best else "not validated"
    end = sheet.width - 3 - sheet.length(told)
    shown = sheet.text(_LEFT + 10, y, run.name, room=end - _LEFT - 14)
    sheet.text(_LEFT + 13 + sheet.length(shown.get_text(), shown.get_fontsize()), y, told, color=SOFT)

"""Rows of patches, columns of image, truth, and what each run makes of it: mask and winning prototypes.

H x W pixels; masks have internal indices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from lpdseg.insight.paper.sheet import SMALL, SOFT, Sheet, legend_height
from lpdseg.pictures.scale_bar import length_text, round_length
from lpdseg.tissue import Colour

_LEFT, _HEAD, _GAP, _GROUP, _UNDER, _FOOT = 4.5, 4.5, 1.2, 3.0, 3.2, 3.0
_LARGE = 0.04
"""Share of a picture from which on an area is worth a number."""


@dataclass(frozen=True)
class Tile:
    """A picture, words below it, and places in it (x and y in 0..1) that are labelled."""

    pixels: UInt8[np.ndarray, "H W 3"]
    under: str = ""
    marks: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """A patch: what is written beside it, its tiles in the order of the columns, and its microns per pixel."""

    label: str
    tiles: tuple[Tile, ...]
    mpp: float | None = None


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under a common heading, which may be empty."""

    heading: str
    columns: tuple[str, ...]


def grid_figure(
    groups: Sequence[Group], rows: Sequence[Row], legend: Sequence[tuple[str, Colour]], width: float
) -> Sheet:
    """A sheet of `width` mm, as high as the patches need."""
    columns = [column for group in groups for column in group.columns]
    gaps = (len(columns) - 1) * _GAP + (len(groups) - 1) * (_GROUP - _GAP)
    side = (width - _LEFT - gaps - 0.5) / len(columns)
    head = _HEAD * (2 if any(group.heading for group in groups) else 1)
    under = _UNDER if any(tile.under for row in rows for tile in row.tiles) else 0.0
    bars = _UNDER if any(row.mpp is not None for row in rows) else 0.0
    heights = [side * row.tiles[0].pixels.shape[0] / row.tiles[0].pixels.shape[1] for row in rows]
    below = sum(height + max(under, bars) + _GAP for height in heights)
    sheet = Sheet(width, head + below + _FOOT + legend_height(legend, width, _LEFT))
    lefts = _heads(sheet, groups, side, head)
    top = head
    for row, height in zip(rows, heights, strict=True):
        sheet.text(1.8, top + height / 2, row.label, ha="center", rotation=90, color=SOFT, fontsize=SMALL)
        for left, tile in zip(lefts, row.tiles, strict=True):
            axes = sheet.picture(tile.pixels, left, top, side, height)
            for x, y, label in tile.marks:
                axes.text(
                    x, y, sheet.fitted(label, 0.6 * side, SMALL), ha="center", va="center", fontsize=SMALL,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
                )  # fmt: skip
            sheet.text(left, top + height + 1.6, tile.under, room=side, color=SOFT, fontsize=SMALL)
        if row.mpp is not None:
            _scale(sheet, row.mpp, row.tiles[0].pixels.shape[1], lefts[0], top + height + 1.0, side)
        top += height + max(under, bars) + _GAP
    sheet.legend(legend, _LEFT, top + 1.2)
    return sheet


def _heads(sheet: Sheet, groups: Sequence[Group], side: float, head: float) -> list[float]:
    """Writes the headings and gives the left edge of each column."""
    from matplotlib.lines import Line2D

    lefts, x = [], _LEFT
    for group in groups:
        first = x
        for column in group.columns:
            sheet.text(x + side / 2, head - 2.1, column, room=side, ha="center")
            lefts.append(x)
            x += side + _GAP
        x -= _GAP
        if group.heading:
            sheet.text((first + x) / 2, 2.2, group.heading, room=x - first, ha="center", fontweight="bold")
            y = 1 - (head - _HEAD + 0.1) / sheet.height
            ends = [first / sheet.width, x / sheet.width]
            line = Line2D(ends, [y, y], transform=sheet.figure.transFigure, color=SOFT, linewidth=0.5)
            sheet.figure.add_artist(line)
        x += _GROUP
    return lefts


def _scale(sheet: Sheet, mpp: float, pixels: int, left: float, y: float, side: float) -> None:
    """A bar of a round length below the first tile, at most half as long, with its length beside it."""
    from matplotlib.lines import Line2D

    microns = round_length(0.5 * pixels * mpp)
    long = side * microns / (pixels * mpp)
    height = 1 - (y + 0.6) / sheet.height
    ends = [left / sheet.width, (left + long) / sheet.width]
    bar = Line2D(
        ends, [height] * 2, transform=sheet.figure.transFigure, color="black", linewidth=1.6, solid_capstyle="butt"
    )
    sheet.figure.add_artist(bar)
    sheet.text(left + long + 0.8, y + 0.6, length_text(microns, "µm"), fontsize=SMALL, color=SOFT)


def marks(areas: UInt8[np.ndarray, "H W"], names: Sequence[str]) -> tuple[tuple[float, float, str], ...]:
    """The innermost point of every large connected area of the same value, with the value's name."""
    found = []
    height, width = areas.shape
    for value in np.unique(areas).tolist():
        if value >= len(names):
            continue
        parts, count = ndimage.label(areas == value)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        for part in np.flatnonzero(sizes[1:] >= _LARGE * areas.size) + 1:
            y, x = _innermost(parts == part)
            found.append(((x + 0.5) / width, (y + 0.5) / height, names[value]))
    return tuple(found)


def _innermost(inside: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """The pixel that is farthest from what is outside, the picture's edge included."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)

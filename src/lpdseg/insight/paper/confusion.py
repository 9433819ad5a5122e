"""Confusion matrices: rows are the truth, each divided by its sum, with the counted pixels below the share.

n channels, background last.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from lpdseg.insight.paper.sheet import SMALL, SOFT, Sheet
from lpdseg.tissue import TissueClasses

_TOP, _GAP, _LOW, _TRUTH, _BOX, _LONGEST = 8.0, 6.0, 1.0, 4.5, 3.6, 30.0

_DARK = 0.18
"""Luminance below which white letters are easier to read than black ones, and both are at 4.5 to 1 or better."""


def confusion_figure(
    matrices: Sequence[tuple[str, Int[np.ndarray, "n n"]]], classes: TissueClasses, width: float
) -> Sheet:
    """One matrix of each run, side by side, `width` mm together.

    **Arguments:**

    - `matrices`: each run's name and its pixels by truth (rows) and prediction (columns).
    """
    count, names, several = len(matrices), classes.channel_names, len(matrices) > 1
    measured = Sheet(width, 10.0)
    words = min(max(measured.length(name) for name in names), _LONGEST, width / 4)
    first, top = _TRUTH + words + _BOX, _TOP + (3.5 if several else 0.0)
    side = (width - first - 1 - (count - 1) * _GAP) / count
    sheet = Sheet(width, top + side + _LOW)
    for place, (name, matrix) in enumerate(matrices):
        left = first + place * (side + _GAP)
        _one(sheet, matrix, names, left, top, side)
        if several:
            sheet.text(left + side / 2, 2.0, name, room=side, ha="center", fontweight="bold")
        sheet.text(left + side / 2, top - 6, "predicted", ha="center", color=SOFT, fontsize=SMALL)
    sheet.text(2.0, top + side / 2, "truth", ha="center", color=SOFT, fontsize=SMALL, rotation=90)
    cell, colours = side / len(names), (*classes.colours, classes.background_colour)
    for row, (name, colour) in enumerate(zip(names, colours, strict=False)):
        middle = top + (row + 0.5) * cell
        sheet.box(first - 3.1, middle, colour)
        sheet.text(first - _BOX - 0.4, middle, name, room=words, ha="right")
    return sheet


def _one(
    sheet: Sheet, matrix: Int[np.ndarray, "n n"], names: Sequence[str], left: float, top: float, side: float
) -> None:
    from matplotlib import colormaps

    count = len(matrix)
    cell = side / count
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    shade, axes = colormaps["Blues"], sheet.axes(left, top, side, side)
    axes.pcolormesh(
        np.arange(count + 1), np.arange(count + 1), shares, cmap=shade, vmin=0, vmax=1,
        edgecolors="white", linewidth=0.8,
    )  # fmt: skip
    axes.set(xticks=(), yticks=(), xlim=(0, count), ylim=(count, 0))
    for spine in axes.spines.values():
        spine.set_visible(False)
    large = min(8.0, 1.25 * cell)
    for row in range(count):
        known = matrix[row].sum() > 0
        for column in range(count):
            colour = "white" if luminance(shade(shares[row, column])[:3]) < _DARK else "black"
            x, y = left + (column + 0.5) * cell, top + (row + 0.5) * cell
            word = f"{100 * shares[row, column]:.1f}" if known else "–"
            sheet.text(x, y - 0.1 * cell, word, ha="center", color=colour, fontsize=large)
            sheet.text(
                x, y + 0.22 * cell, short_count(int(matrix[row, column])),
                ha="center", color=colour, fontsize=0.72 * large,
            )  # fmt: skip
    for column, name in enumerate(names):
        sheet.text(left + (column + 0.5) * cell, top - 2, name, room=cell - 0.5, ha="center")


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour of 0..1, as WCAG 2.2 defines it."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def short_count(count: int) -> str:
    """Three digits at most: `812`, `8.10 k`, `81.2 k`, `812 k`, `8.12 M`."""
    if count < 1000:
        return str(count)
    rounded = float(f"{count:.3g}")  # 999,600 is 1.00 M
    power = min(4, int(np.log10(rounded) + 1e-9) // 3)
    digits = np.format_float_positional(rounded / 1000**power, 3, unique=False, fractional=False, trim="k")
    return f"{digits.removesuffix('.')} {' kMGT'[power]}"

"""A slide as one image of a wanted resolution, whatever levels its file has.

Pixel (column, row) of this grid is the area x in [column · sx, (column + 1) · sx) of level 0, and y likewise.
"""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.errors import SettingsError
from lpdseg.slides.agreement import coarsest_that_agrees
from lpdseg.slides.rectangle import on_white
from lpdseg.slides.slide import Mpp, Slide

_COARSER = 1.01
"""A level may be this much coarser than wanted: scanners' figures are not exact, and a finer level of 16 times the
pixels would gain nothing."""

_SAME = 1e-9
"""Relative difference of scales that are the same but for arithmetic."""

_SLIVER = 1e-6
"""Share of a pixel of the grid that does not need a column of its own."""

_SUPPORT = 2.0
"""Pixels of the grid to each side that a pixel is made from: the reach of the bicubic filter."""

_MOST = 4096
"""Pixels of a level along a side that are read at once, but for what the filter reaches."""

_BLOCK = 64
"""Side in pixels of the grid of the blocks that are resampled whole, at multiples of it. A pixel so has the same
neighbours and the same arithmetic in every rectangle."""


class AtMpp:
    """A view of a slide at `wanted` microns per pixel.

    Pixels come from the coarsest level that is as fine as wanted (to 1 %) and shows the same as level 0 (see
    `lpdseg.slides.agreement`), through Pillow's bicubic filter, which averages where it reduces. Where the grid's
    pixels are those of a level, they are taken as they are. Where level 0 is too coarse it is enlarged; see
    `warn_if_far`.

    **Arguments:**

    - `slide`: an open slide; the view does not close it.
    - `mpp`: microns per pixel of its level 0.
    - `wanted`: microns per pixel of the grid.

    **Raises:** `SettingsError` where `wanted` is no positive number.
    """

    def __init__(self, slide: Slide, mpp: Mpp, wanted: float) -> None:
        if not (math.isfinite(wanted) and wanted > 0):
            raise SettingsError(f"a slide cannot be read at {wanted:g} microns per pixel; use a positive number")
        self.slide = slide
        self.mpp = mpp
        self.wanted = wanted
        self.scale = (_rounded(wanted / mpp.x), _rounded(wanted / mpp.y))
        """(sx, sy): pixels of level 0 per pixel of the grid."""
        width, height = slide.facts.size
        self.size = (_cells(width, self.scale[0]), _cells(height, self.scale[1]))
        """(W, H) of the grid; its last column and row may reach beyond the slide."""
        self.level = self._pick_level()
        """The level that pixels come from."""
        downsample = slide.facts.levels[self.level].downsample
        self._factor = tuple(
            _rounded(scale / down) for scale, down in zip(self.scale, downsample, strict=True)
        )  # pixels of the level per pixel of the grid
        self._block = tuple(max(min(_BLOCK, int(_MOST / factor)), 1) for factor in self._factor)

    def read(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a rectangle in pixels of the grid; what lies outside the slide is white.

        A pixel is the same in every rectangle.

        **Raises:** `SlideError` where the file is damaged there.
        """
        return on_white(self.size, x, y, width, height, self._inside)

    def _inside(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        if self._factor == (1.0, 1.0):
            return self.slide.read(self.level, x, y, width, height)
        pixels = np.empty((height, width, 3), np.uint8)
        side_x, side_y = self._block
        end_x, end_y = -(-(x + width) // side_x) * side_x, -(-(y + height) // side_y) * side_y
        step_x, step_y = (
            max(int(_MOST / factor) // side, 1) * side
            for factor, side in zip(self._factor, self._block, strict=True)
        )
        for top in range(y // side_y * side_y, end_y, step_y):
            for left in range(x // side_x * side_x, end_x, step_x):
                piece = self._resampled(left, top, min(step_x, end_x - left), min(step_y, end_y - top))
                rows = slice(max(top, y), min(top + piece.shape[0], y + height))
                columns = slice(max(left, x), min(left + piece.shape[1], x + width))
                pixels[_moved(rows, y), _moved(columns, x)] = piece[_moved(rows, top), _moved(columns, left)]
        return pixels

    def _resampled(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """Whole blocks of the grid, from one rectangle of the level."""
        source_x, source_y = self._source(0, x, width), self._source(1, y, height)
        source = self.slide.read(
            self.level,
            source_x.start,
            source_y.start,
            source_x.stop - source_x.start,
            source_y.stop - source_y.start,
        )
        pixels = np.empty((height, width, 3), np.uint8)
        side_x, side_y = self._block
        for top in range(0, height, side_y):
            for left in range(0, width, side_x):
                columns, rows = self._source(0, x + left, side_x), self._source(1, y + top, side_y)
                box = (
                    (x + left) * self._factor[0] - columns.start,
                    (y + top) * self._factor[1] - rows.start,
                    (x + left + side_x) * self._factor[0] - columns.start,
                    (y + top + side_y) * self._factor[1] - rows.start,
                )
                block = Image.fromarray(source[_moved(rows, source_y.start), _moved(columns, source_x.start)])
                resized = block.resize((side_x, side_y), Image.Resampling.BICUBIC, box)
                pixels[top : top + side_y, left : left + side_x] = np.asarray(resized)
        return pixels

    def _source(self, axis: int, start: int, length: int) -> slice:
        """Pixels of the level that grid pixels are made from, with all that the filter reaches."""
        factor = self._factor[axis]
        margin = math.ceil(_SUPPORT * max(factor, 1.0)) + 1
        return slice(math.floor(start * factor) - margin, math.ceil((start + length) * factor) + margin)

    def _pick_level(self) -> int:
        levels = self.slide.facts.levels
        fine = [
            number
            for number, level in enumerate(levels)
            if all(down <= scale * _COARSER for down, scale in zip(level.downsample, self.scale, strict=True))
        ]
        return coarsest_that_agrees(self.slide, fine)


def _cells(length: int, scale: float) -> int:
    """Grid pixels that cover `length` pixels of level 0; the last is not begun for an error of arithmetic."""
    return max(math.ceil(length / scale - _SLIVER), 1)


def _moved(part: slice, by: int) -> slice:
    """A slice as seen from `by`."""
    return slice(part.start - by, part.stop - by)


def _rounded(factor: float) -> float:
    """A factor that is a whole number but for arithmetic, as the whole number."""
    whole = round(factor)
    return float(whole) if whole and abs(factor - whole) <= _SAME * whole else factor

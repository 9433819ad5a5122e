"""Strips of weighted probabilities → rows of probabilities, in a buffer as high as a window.

n channels; a slide has H x W pixels, a window w x w; a band is h rows of the slide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from lpdseg.segment.slides.engine import Strip


@dataclass(frozen=True)
class Band:
    """Rows of the slide that no further window reaches; valid until the next is asked for.

    - `y`: of the first.
    - `sums`: Σ weight · probability.
    - `weights`: Σ weight; 0 where nothing was computed.
    """

    y: int
    sums: Float32[np.ndarray, "n h W"]
    weights: Float32[np.ndarray, "h W"]


class Blender:
    """Adds up strips in the order in which they come, and gives rows once they are whole.

    **Arguments:**

    - `size`: (W, H) of the slide.
    - `channels`: n.
    - `weights`: of a window's pixels, w x w.
    """

    def __init__(self, size: tuple[int, int], channels: int, weights: Float32[np.ndarray, "w w"]) -> None:
        self._width, self._height = size
        self._window, self._weights = len(weights), weights
        across = max(self._width, self._window)  # a window may reach outside a small slide
        self._sums = np.zeros((channels, self._window, across), np.float32)
        self._total = np.zeros((self._window, across), np.float32)
        self._top = 0  # row of the slide that the buffer begins with

    def bands(self, strips: Iterator[Strip]) -> Iterator[Band]:
        """The rows of the slide, all of them and in order, in bands at most as high as a window."""
        for strip in strips:
            yield from self._down_to(strip.segment.y)
            self._add(strip)
        yield from self._down_to(self._height)

    def _add(self, strip: Strip) -> None:
        first = strip.segment.lefts[0]
        self._sums[:, :, first : first + strip.values.shape[2]] += strip.values
        for left in strip.segment.lefts:
            self._total[:, left : left + self._window] += self._weights

    def _down_to(self, y: int) -> Iterator[Band]:
        """Gives the rows above `y`, and moves the buffer there."""
        while self._top < y:
            rows = min(y - self._top, self._window)
            shown = min(rows, self._height - self._top)
            yield Band(self._top, self._sums[:, :shown, : self._width], self._total[:shown, : self._width])
            for buffer in (*self._sums, self._total):
                buffer[:-rows] = buffer[rows:].copy() if rows < self._window else 0
                buffer[-rows:] = 0
            self._top += rows


def column_blocks(width: int, rows: int, most: int = 1 << 20) -> Sequence[slice]:
    """Slices of columns that hold at most about `most` pixels of `rows` rows each."""
    step = max(1, most // max(1, rows))
    return [slice(x, min(x + step, width)) for x in range(0, width, step)]

"""Strips of weighted probabilities → rows of probabilities, in a buffer as high as a window.

C classes, n channels; a slide has H x W pixels, a window w x w; a band is h rows of the slide.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from lpdseg.segmenting.slides.engine import Strip


@dataclass(frozen=True)
class Band:
    """Rows of the slide that no further window reaches; valid until the next is asked for.

    - `y`: of the first.
    - `sums`: Σ weight · probability.
    - `weights`: Σ weight; 0 where nothing was computed.
    - `columns`: runs of columns, from left to right, outside which nothing was. Most of a slide is glass.
    - `winners`: of each class its winning prototype, from the window of the largest weight at the pixel (the first
      of equals); None where strips do not tell.
    """

    y: int
    sums: Float32[np.ndarray, "n h W"]
    weights: Float32[np.ndarray, "h W"]
    columns: Sequence[slice]
    winners: UInt8[np.ndarray, "C h W"] | None = None


class Blender:
    """Adds up strips in the order in which they come, and gives rows once they are whole.

    **Arguments:**

    - `size`: (W, H) of the slide.
    - `channels`: n.
    - `weights`: of a window's pixels, w x w.
    - `classes`: C where strips tell which prototypes win, else 0.
    """

    def __init__(
        self, size: tuple[int, int], channels: int, weights: Float32[np.ndarray, "w w"], classes: int = 0
    ) -> None:
        self._width, self._height = size
        self._window, self._weights = len(weights), weights
        across = max(self._width, self._window)  # a window may reach outside a small slide
        self._sums = np.zeros((channels, self._window, across), np.float32)
        self._total = np.zeros((self._window, across), np.float32)
        self._winners = np.zeros((classes, self._window, across), np.uint8)
        self._heaviest = np.zeros((self._window if classes else 0, across), np.float32)
        self._top = 0  # row of the slide that the buffer begins with
        self._held: list[tuple[int, int, int]] = []  # of each strip in it: the row below its last, first and last x

    def bands(self, strips: Iterator[Strip]) -> Iterator[Band]:
        """The rows of the slide, all of them and in order, in bands at most as high as a window."""
        for strip in strips:
            yield from self._down_to(strip.segment.y)
            self._add(strip)
        yield from self._down_to(self._height)

    def _add(self, strip: Strip) -> None:
        first, last = strip.segment.lefts[0], strip.segment.lefts[0] + strip.values.shape[2]
        self._held.append((strip.segment.y + self._window, first, last))
        self._sums[:, :, first:last] += strip.values
        for left in strip.segment.lefts:
            self._total[:, left : left + self._window] += self._weights
        if strip.winners is not None:
            here = np.zeros(strip.values.shape[1:], np.float32)
            for left in strip.segment.lefts:
                part = here[:, left - first : left - first + self._window]
                np.maximum(part, self._weights, out=part)
            before = self._heaviest[:, first:last]
            np.copyto(self._winners[:, :, first:last], strip.winners, where=here > before)
            np.maximum(before, here, out=before)

    def _down_to(self, y: int) -> Iterator[Band]:
        """Gives the rows above `y`, and moves the buffer there."""
        while self._top < y:
            rows = min(y - self._top, self._window)
            shown = min(rows, self._height - self._top)
            columns = _runs((first, last) for _, first, last in self._held)
            inside = [slice(one.start, min(one.stop, self._width)) for one in columns if one.start < self._width]
            winners = self._winners[:, :shown, : self._width] if len(self._winners) else None
            sums, total = self._sums[:, :shown, : self._width], self._total[:shown, : self._width]
            yield Band(self._top, sums, total, inside, winners)
            buffers = [*self._sums, self._total, *self._winners, *([] if winners is None else [self._heaviest])]
            for buffer in (part[:, one] for part in buffers for one in columns):
                buffer[:-rows] = buffer[rows:].copy() if rows < self._window else 0
                buffer[-rows:] = 0
            self._top += rows
            self._held = [strip for strip in self._held if strip[0] > self._top]


def _runs(parts: Iterable[tuple[int, int]]) -> list[slice]:
    """Parts of a line, which may overlap → the runs that they cover, from left to right."""
    runs: list[slice] = []
    for first, last in sorted(parts):
        if runs and first <= runs[-1].stop:
            runs[-1] = slice(runs[-1].start, max(runs[-1].stop, last))
        else:
            runs.append(slice(first, last))
    return runs


def column_blocks(columns: Iterable[slice], rows: int, most: int = 1 << 20) -> Iterator[slice]:
    """The same columns in slices that hold at most about `most` pixels of `rows` rows each."""
    step = max(1, most // max(1, rows))
    for run in columns:
        for x in range(run.start, run.stop, step):
            yield slice(x, min(x + step, run.stop))

"""Which windows of a slide are computed, and which of them together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lpdseg.slides.grid import Grid


@dataclass(frozen=True)
class Segment:
    """Windows of one row that go through the model as one batch.

    - `number`: place in the slide, row by row.
    - `y`: of their top pixels.
    - `lefts`: x of their left pixels, rising.
    """

    number: int
    y: int
    lefts: tuple[int, ...]

    def width(self, window: int) -> int:
        """Pixels from the first window's left to the last one's right."""
        return self.lefts[-1] + window - self.lefts[0]

    @property
    def offsets(self) -> tuple[int, ...]:
        """x of each window in the segment's result."""
        return tuple(x - self.lefts[0] for x in self.lefts)

    def runs(self, window: int) -> Iterator[slice]:
        """Windows, by number, between which there is no gap."""
        start = 0
        for number in range(1, len(self.lefts) + 1):
            if number == len(self.lefts) or self.lefts[number] > self.lefts[number - 1] + window:
                yield slice(start, number)
                start = number

    def places(self, window: int) -> tuple[int, ...]:
        """x of each window in the segment's pixels, which are its runs side by side, each pixel once."""
        places, end = list[int](), 0
        for run in self.runs(window):
            places += [end + x - self.lefts[run.start] for x in self.lefts[run]]
            end = places[-1] + window
        return tuple(places)


_GAP = 2
"""A segment may span so many times the columns that it holds: its result is as wide as it spans."""


def plan_segments(grid: Grid, wanted: Callable[[int, int, int, int], bool], most: int) -> tuple[Segment, ...]:
    """The windows that are wanted, cut into segments; row by row, from left to right.

    It depends on the arguments alone, so the same slide is always computed in the same batches.

    **Arguments:**

    - `wanted`: of a rectangle (x, y, width, height) in pixels: whether it holds tissue.
    - `most`: windows per segment.
    """
    found: list[Segment] = []
    for row in range(grid.rows):
        for columns in _runs(grid, wanted, row, most):
            places = [grid.origin(row, column) for column in columns]
            found.append(Segment(len(found), places[0][1], tuple(x for x, _ in places)))
    return tuple(found)


def _runs(grid: Grid, wanted: Callable[[int, int, int, int], bool], row: int, most: int) -> Iterator[list[int]]:
    held: list[int] = []
    for column in range(grid.columns):
        x, y = grid.origin(row, column)
        if not wanted(x, y, grid.window, grid.window):
            continue
        if held and (len(held) == most or column - held[0] >= _GAP * most):
            yield held
            held = []
        held.append(column)
    if held:
        yield held

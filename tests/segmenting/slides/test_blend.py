"""Rows of blended probabilities against adding up the whole slide at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides.blend import Blender, column_blocks
from lpdseg.segmenting.slides.engine import Strip
from lpdseg.segmenting.slides.plan import Segment, plan_segments
from lpdseg.slides.grid import Grid

CHANNELS = 2


of_any_slide = given(
    width=st.integers(1, 90),
    height=st.integers(1, 120),
    overlap=st.integers(0, 15),
    glass=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 99),
)


def planned(
    width: int, height: int, overlap: int, glass: float, seed: int
) -> tuple[int, np.random.Generator, np.ndarray, tuple[Segment, ...]]:
    """The side of windows, what draws their values, their weights, and segments of a slide that is part glass."""
    window, rng = 16, np.random.default_rng(seed)
    grid = Grid((width, height), window, overlap)
    return window, rng, grid.weights(), plan_segments(grid, lambda *_: bool(rng.random() >= glass), 3)


@of_any_slide
def test_bands_are_the_rows_of_the_whole_sum(
    width: int, height: int, overlap: int, glass: float, seed: int
) -> None:
    window, rng, weights, segments = planned(width, height, overlap, glass, seed)
    strips = [
        Strip(segment, rng.random((CHANNELS, window, segment.width(window)), np.float32), 0.0, 0.0)
        for segment in segments
    ]
    sums = np.zeros((CHANNELS, height + window, width + window), np.float32)
    total = np.zeros((height + window, width + window), np.float32)
    for strip in strips:
        segment, across = strip.segment, strip.values.shape[2]
        rows = slice(segment.y, segment.y + window)
        sums[:, rows, segment.lefts[0] : segment.lefts[0] + across] += strip.values
        for left in segment.lefts:
            total[rows, left : left + window] += weights
    y = 0
    for band in Blender((width, height), CHANNELS, weights).bands(iter(strips)):
        rows = slice(y, y + len(band.weights))
        assert band.y == y and 0 < len(band.weights) <= window
        np.testing.assert_array_equal(band.sums, sums[:, rows, :width])
        np.testing.assert_array_equal(band.weights, total[rows, :width])
        told = [x for run in band.columns for x in range(run.start, run.stop)]
        assert told == sorted(set(told)) and set(np.flatnonzero(band.weights.any(0))) <= set(told)
        assert glass < 1 or not told
        y += len(band.weights)
    assert y == height


@of_any_slide
def test_winners_are_those_of_the_heaviest_window(
    width: int, height: int, overlap: int, glass: float, seed: int
) -> None:
    window, rng, weights, segments = planned(width, height, overlap, glass, seed)
    heaviest, wanted = np.zeros((height + window, width + window), np.float32), {}
    strips = []
    for segment in segments:
        across = segment.width(window)
        winners = rng.integers(0, 255, (3, window, across), np.uint8)
        strips.append(Strip(segment, np.zeros((CHANNELS, window, across), np.float32), 0.0, 0.0, winners))
        for left in segment.lefts:
            for y, x in np.ndindex(window, window):
                at = segment.y + y, left + x
                if weights[y, x] > heaviest[at]:
                    heaviest[at], wanted[at] = weights[y, x], winners[:, y, left + x - segment.lefts[0]]
    for band in Blender((width, height), CHANNELS, weights, 3).bands(iter(strips)):
        assert band.winners is not None and band.winners.shape == (3, *band.weights.shape)
        for y, x in zip(*np.nonzero(band.weights), strict=True):
            np.testing.assert_array_equal(band.winners[:, y, x], wanted[band.y + y, x])


@given(width=st.integers(1, 5000), rows=st.integers(1, 300), most=st.integers(1, 10000))
def test_blocks_cover_the_columns_once(width: int, rows: int, most: int) -> None:
    blocks = list(column_blocks([slice(0, width), slice(width + 3, 2 * width + 3)], rows, most))
    found = [x for block in blocks for x in range(block.start, block.stop)]
    assert found == [*range(width), *range(width + 3, 2 * width + 3)]
    assert all((block.stop - block.start) * rows <= max(most, rows) for block in blocks)

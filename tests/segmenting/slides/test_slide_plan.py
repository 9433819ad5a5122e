"""Which windows are computed together: every wanted one once, in order, in bounded segments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.slides.grid import Grid


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 200),
    window=st.sampled_from([16, 31, 64]),
    most=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_every_wanted_window_is_in_one_segment(width: int, height: int, window: int, most: int, seed: int) -> None:
    grid = Grid((width, height), window, window // 2)
    chosen = np.random.default_rng(seed).random((height, width)) < 0.4
    segments = plan_segments(grid, lambda x, y, w, h: bool(chosen[y, x]), most)
    wanted = [
        (y, x)
        for row in range(grid.rows)
        for column in range(grid.columns)
        for x, y in [grid.origin(row, column)]
        if chosen[y, x]
    ]
    assert [(segment.y, left) for segment in segments for left in segment.lefts] == wanted
    assert [segment.number for segment in segments] == list(range(len(segments)))
    for segment in segments:
        assert 1 <= len(segment.lefts) <= most
        assert segment.width(window) <= 2 * most * (window - window // 2) + window


def test_full_batches_are_taken_where_there_is_no_glass() -> None:
    grid = Grid((100, 20), 20, 0)
    segments = plan_segments(grid, lambda *_: True, 2)
    assert [segment.lefts for segment in segments] == [(0, 20), (40, 60), (80,)]


def test_without_tissue_there_is_nothing_to_compute() -> None:
    assert plan_segments(Grid((100, 90), 20, 10), lambda *_: False, 4) == ()

"""Windows cover every pixel, as few as there can be, and blend without an edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.slides.grid import Grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    window = draw(st.integers(1, 24))
    size = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    return Grid(size, window, draw(st.integers(0, window - 1)))


def origins(grid: Grid) -> list[tuple[int, int]]:
    return [grid.origin(row, column) for row in range(grid.rows) for column in range(grid.columns)]


@given(grids())
def test_every_pixel_is_covered_and_every_window_comes_once(grid: Grid) -> None:
    covered = np.zeros(grid.size[::-1], int)
    for x, y in origins(grid):
        assert x >= 0 and y >= 0
        covered[y : y + grid.window, x : x + grid.window] += 1
    assert (covered > 0).all()
    assert len(set(origins(grid))) == grid.rows * grid.columns


@given(grids())
def test_windows_go_row_by_row_and_stay_inside_where_they_fit(grid: Grid) -> None:
    places = origins(grid)
    assert places == sorted(places, key=lambda place: place[::-1])
    for axis in (0, 1):
        reach = max(place[axis] for place in places) + grid.window
        assert reach == max(grid.size[axis], grid.window)


@given(grids())
def test_neighbours_share_the_overlap_and_one_window_fewer_would_not_do(grid: Grid) -> None:
    for axis, count in ((0, grid.columns), (1, grid.rows)):
        starts = [grid.origin(*((0, n) if axis == 0 else (n, 0)))[axis] for n in range(count)]
        steps = np.diff(starts)
        stride = grid.window - grid.overlap
        assert (steps[:-1] == stride).all() and (steps <= stride).all()
        fewer = grid.window + (count - 2) * stride
        assert count == 1 or fewer < grid.size[axis]


@given(grids())
def test_weights_are_positive_symmetric_and_fit_into_half_precision(grid: Grid) -> None:
    weights = grid.weights()
    assert weights.shape == (grid.window, grid.window) and weights.max() <= 1
    assert (weights.astype(np.float16) > 0).all()
    assert np.allclose(weights, weights[::-1]) and np.allclose(weights, weights.T)


@pytest.mark.parametrize("overlap", [0, 1, 5, 32])
def test_weights_of_neighbours_add_up_to_the_same_everywhere(overlap: int) -> None:
    grid = Grid((64 * 3 - 2 * overlap, 64), 64, overlap)
    total = np.zeros(grid.size[0])
    for column in range(grid.columns):
        x, _ = grid.origin(0, column)
        total[x : x + 64] += grid.weights()[32]
    inner = total[overlap : len(total) - overlap] / grid.weights()[32].max()
    assert np.abs(inner - 1).max() < 2e-3
    assert np.abs(np.diff(total[overlap : -overlap or None])).max() < 2e-3


def test_a_grid_that_cannot_be() -> None:
    with pytest.raises(SettingsError, match="cannot overlap by 8; use 0 to 7"):
        Grid((10, 10), 8, 8)
    with pytest.raises(SettingsError, match="positive side"):
        Grid((10, 10), 0, 0)
    with pytest.raises(SettingsError, match="0 x 10 pixels"):
        Grid((0, 10), 8, 0)
    with pytest.raises(IndexError):
        Grid((10, 10), 8, 0).origin(2, 0)

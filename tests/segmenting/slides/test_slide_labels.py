"""The label file: what goes in row by row comes out in rectangles, and glass takes no room."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides import labels as module
from lpdseg.segmenting.slides.labels import LabelFile


@given(
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=12), width=st.integers(1, 30), seed=st.integers(0, 99)
)
def test_rows_come_out_as_they_went_in(
    heights: list[int], width: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, (sum(heights), width)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", 8)
        file = LabelFile(tmp_path_factory.mktemp("labels") / "x", (width, len(rows)), 3)
        for part in np.split(rows, np.cumsum(heights)[:-1]):
            file.append(part)
    assert file.array.shape == rows.shape
    np.testing.assert_array_equal(file.array[:], rows)
    x, y = width // 2, len(rows) // 3
    np.testing.assert_array_equal(file.array[y : y + 5, x:], rows[y : y + 5, x:])


def test_background_takes_no_room(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "x", (5000, 3000), 2)
    for _ in range(30):
        file.append(np.full((100, 5000), 2, np.uint8))
    assert len([path for path in (tmp_path / "x").rglob("*") if path.is_file()]) == 1  # what describes the array
    assert (file.array[2990:, 4990:] == 2).all()

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides.rows import RowBlocks


@given(
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    rows=st.integers(1, 12),
    channels=st.integers(0, 2),
)
def test_rows_are_handed_on_in_full_blocks(heights: list[int], rows: int, channels: int) -> None:
    height = sum(heights)
    whole = np.arange(max(channels, 1) * height * 3).reshape((channels, height, 3) if channels else (height, 3))
    given_on: list[tuple[int, np.ndarray]] = []
    blocks = RowBlocks(lambda top, block: given_on.append((top, block.copy())), rows, height)
    for part in np.split(whole, np.cumsum(heights)[:-1], axis=-2):
        blocks.append(part)
    assert [top for top, _ in given_on] == list(range(0, height, rows))
    assert all(block.shape[-2] == min(rows, height - top) for top, block in given_on)
    np.testing.assert_array_equal(np.concatenate([block for _, block in given_on], axis=-2), whole)

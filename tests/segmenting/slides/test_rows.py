"""Rows in blocks: each whole, once and in order, and written while the next is collected."""

import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides import rows as module
from lpdseg.segmenting.slides.rows import RowBlocks

SOON = 30.0


@given(
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    rows=st.integers(1, 12),
    channels=st.integers(0, 2),
)
def test_rows_are_handed_on_in_full_blocks(heights: list[int], rows: int, channels: int) -> None:
    height = sum(heights)
    whole = np.arange(max(channels, 1) * height * 3).reshape((channels, height, 3) if channels else (height, 3))
    given_on: list[tuple[int, np.ndarray]] = []
    with closing(RowBlocks(lambda top, block: given_on.append((top, block.copy())), rows, height)) as blocks:
        for part in np.split(whole, np.cumsum(heights)[:-1], axis=-2):
            blocks.append(part)
        assert sum(block.shape[-2] for _, block in given_on) == height  # and nobody has waited
    assert [top for top, _ in given_on] == list(range(0, height, rows))
    assert all(block.shape[-2] == min(rows, height - top) for top, block in given_on)
    np.testing.assert_array_equal(np.concatenate([block for _, block in given_on], axis=-2), whole)


@pytest.mark.parametrize("spare", [True, False])
def test_a_block_is_written_while_the_next_is_collected_unless_two_are_too_large(
    monkeypatch: pytest.MonkeyPatch, spare: bool
) -> None:
    monkeypatch.setattr(module, "_SPARE_BYTES", 64 if spare else 0)
    collected, found = threading.Event(), list[int]()

    def write(top: int, block: np.ndarray) -> None:
        if spare and top == 0:
            assert collected.wait(SOON), "the next rows wait until the block is written"
        found.append(int(block[0, 0]))

    with closing(RowBlocks(write, 2, 8)) as blocks:
        for row in range(8):
            blocks.append(np.full((1, 3), row))
            if row == 1 and not spare:
                assert found == [0]
            if row == 2:
                collected.set()
        assert found == [0, 2, 4, 6]


def test_what_writing_raises_comes_to_whoever_gives_rows_and_nothing_more_is_written() -> None:
    def write(top: int, block: np.ndarray) -> None:
        found.append(top)
        raise OSError(28, "No space left on device")

    found = list[int]()
    with closing(RowBlocks(write, 1, 3)) as blocks, pytest.raises(OSError, match="No space left"):
        for row in range(3):
            blocks.append(np.full((1, 3), row))
    assert found == [0] and not [one for one in threading.enumerate() if one.name.startswith("lpdseg-rows")]

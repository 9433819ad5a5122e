"""Windows added some at once: as one after another, to the bit."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.segmenting.slides.passes import disjoint_passes, windows_of

SIDE = 8


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(0, 12), st.integers(0, 3))
def test_each_pixel_adds_as_if_window_came_after_window(steps: list[int], cut: int, seed: int) -> None:
    offsets = tuple(sum(steps[:i]) for i in range(len(steps) + 1))
    numbers = torch.Generator().manual_seed(seed)
    windows = torch.rand(len(offsets), 2, SIDE, SIDE, generator=numbers)
    wanted = torch.zeros(2, SIDE, offsets[-1] + SIDE)
    for x, window in zip(offsets, windows, strict=True):
        wanted[:, :, x : x + SIDE] += window
    strip, added = torch.zeros_like(wanted), list[int]()
    cut = min(cut, len(offsets))
    for some in (range(cut), range(cut, len(offsets))):
        for group in disjoint_passes(offsets, SIDE, some):
            assert all(offsets[b] - offsets[a] >= SIDE for a, b in pairwise(group))
            windows_of(strip, offsets, group).add_(windows[group.start : group.stop : group.step])
            added += group
    assert torch.equal(strip, wanted)
    assert sorted(added) == list(range(len(offsets)))


def test_few_passes_do_for_windows_that_lie_evenly() -> None:
    offsets = (*range(0, 60, 4), 58)  # the last one shifted inwards: the last three share pixels
    assert disjoint_passes(offsets, SIDE, range(16)) == (
        range(0, 13, 2), range(1, 14, 2), range(14, 15), range(15, 16)
    )  # fmt: skip
    assert disjoint_passes(tuple(range(0, 80, 6)), SIDE, range(14)) == (range(0, 13, 2), range(1, 14, 2))
    assert disjoint_passes(tuple(range(0, 80, 8)), SIDE, range(10)) == (range(10),)


def test_a_view_of_a_strip_writes_into_it() -> None:
    flat = torch.zeros(SIDE, 20)
    windows_of(flat, (0, 9), range(2)).add_(torch.tensor([1.0, 2.0])[:, None, None])
    assert flat[3].tolist() == [1.0] * 8 + [0.0] + [2.0] * 8 + [0.0] * 3

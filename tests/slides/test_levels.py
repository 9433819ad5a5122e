"""Levels are measured by their sizes, and those that lie are dropped."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.slides.levels import trusted_levels

ROUNDINGS: list[Callable[[float], int]] = [math.floor, math.ceil, round]


@given(
    size=st.tuples(st.integers(64, 2000), st.integers(64, 2000)),
    left=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    factor=st.integers(2, 16),
    rounding=st.sampled_from(ROUNDINGS),
)
def test_a_whole_factor_is_found_however_its_writer_rounds(
    size: tuple[int, int], left: tuple[int, int], factor: int, rounding: Callable[[float], int]
) -> None:
    full = (size[0] * factor + left[0], size[1] * factor + left[1])
    level = (rounding(full[0] / factor), rounding(full[1] / factor))
    found = trusted_levels([full, level])
    assert [index for index, _ in found] == [0, 1]
    assert found[1][1].downsample == (factor, factor)


@given(st.integers(1000, 100_000), st.integers(1000, 100_000))
def test_halving_level_after_level_keeps_every_level(width: int, height: int) -> None:
    sizes = [(width, height)]
    while min(sizes[-1]) > 16:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    found = trusted_levels(sizes, [2.0**n for n in range(len(sizes))])
    assert [index for index, _ in found] == list(range(len(sizes)))
    assert [level.downsample[0] for _, level in found] == [2.0**n for n in range(len(sizes))]


def test_a_factor_that_is_not_whole_comes_from_the_sizes() -> None:
    (_, level) = trusted_levels([(1000, 700), (400, 280)])[1]
    assert level.downsample == (2.5, 2.5)
    (_, level) = trusted_levels([(10_007, 7003), (4000, 2800)])[1]
    assert level.downsample == (10_007 / 4000, 7003 / 2800)


@pytest.mark.parametrize(
    ("size", "declared"),
    [
        ((2560, 1792), 4.0),  # padded to whole tiles
        ((2500, 1700), 4.0),  # cropped below
        ((2500, 2500), 4.0),  # another image
        ((10_000, 7000), 1.0),  # not coarser
        ((20_000, 14_000), 0.5),  # finer
        ((2500, 0), 4.0),
        ((2500, 1750), 4.1),  # claims more than its size
        ((2500, 1750), 16.0),
        ((2500, 1750), 0.0),
        ((2500, 1750), math.nan),
    ],
)
def test_a_level_that_lies_is_dropped_and_the_next_is_not(size: tuple[int, int], declared: float) -> None:
    found = trusted_levels([(10_000, 7000), size, (625, 437)], [1.0, declared, 16.0])
    assert [index for index, _ in found] == [0, 2]
    assert found[1][1].downsample == (16, 16)


def test_a_declared_downsample_may_be_rounded() -> None:
    assert len(trusted_levels([(10_000, 7000), (2500, 1750)], [1.0, 4.02])) == 2

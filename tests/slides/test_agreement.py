"""A level that shows something else than level 0 is not used."""

import numpy as np
import pytest
from drawn_slides import ArraySlide, reduced, scene
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.slides.agreement import coarsest_that_agrees

IMAGE = scene(1203, 803)
HALF, QUARTER, EIGHTH = (reduced(IMAGE, factor) for factor in (2, 4, 8))


def test_levels_of_one_image_agree() -> None:
    slide = ArraySlide([IMAGE, HALF, QUARTER, EIGHTH])
    assert coarsest_that_agrees(slide, range(4)) == 3
    assert coarsest_that_agrees(slide, range(2)) == 1
    assert coarsest_that_agrees(slide, [0]) == 0


@given(st.integers(0, 2**32 - 1))
def test_compression_and_a_shift_by_a_pixel_do_no_harm(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 6, HALF.shape)
    noisy = (np.roll(HALF, (1, -1), (0, 1)) + noise).clip(0, 255).astype(np.uint8)
    assert coarsest_that_agrees(ArraySlide([IMAGE, noisy]), range(2)) == 1


@pytest.mark.parametrize(
    "false",
    [
        scene(601, 401, seed=9),
        np.full((401, 601, 3), 255, np.uint8),
        np.zeros((401, 601, 3), np.uint8),
        HALF[::-1],
        HALF[..., ::-1],
        np.roll(HALF, 100, 1),
    ],
    ids=["another scan", "white", "black", "upside down", "blue for red", "shifted"],
)
def test_a_level_that_shows_something_else_is_passed_over(false: np.ndarray) -> None:
    slide = ArraySlide([IMAGE, false, QUARTER])
    assert coarsest_that_agrees(slide, range(3)) == 2
    assert coarsest_that_agrees(slide, range(2)) == 0


def test_a_tile_that_was_never_written_is_noticed_where_it_is_looked_at() -> None:
    holed = HALF.copy()
    holed[150:250, 250:350] = 255
    assert coarsest_that_agrees(ArraySlide([IMAGE, holed]), range(2)) == 0


def test_a_damaged_place_says_nothing_against_a_level() -> None:
    assert coarsest_that_agrees(ArraySlide([IMAGE, HALF], bad=(600, 400)), range(2)) == 1


def test_little_is_read() -> None:
    slide = ArraySlide([IMAGE, HALF, QUARTER, EIGHTH])
    coarsest_that_agrees(slide, range(4))
    assert max(width * height for *_, width, height in slide.asked) <= 130 * 130

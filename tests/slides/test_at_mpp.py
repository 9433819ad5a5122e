"""A slide at a wanted resolution: right places, whatever the scale, the level and the rectangle."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from drawn_slides import ArraySlide, Pixels, cut, reduced, scene, write_pyramid
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Mpp, Slide, SlideError

IMAGE = scene(1003, 701)
LEVELS = [IMAGE, reduced(IMAGE, 2), reduced(IMAGE, 4), reduced(IMAGE, 8)]
MPP = Mpp(0.25, 0.25, "drawn")
WANTED = [0.2, 0.25, 0.3, 0.37, 0.5, 0.7, 1.0, 1.003, 1.1, 2.0, 3.3]
"""Enlarged, as it is, between levels, on a level, just beyond a level, and beyond the last."""


def whole(view: AtMpp) -> Pixels:
    return view.read(0, 0, *view.size)


def area_mean(image: Pixels, scale: tuple[float, float], column: int, row: int) -> np.ndarray:
    """The mean colour of the area of a grid pixel inside the image, by its definition."""
    weights, parts = [], []
    for number, side in ((row, scale[1]), (column, scale[0])):
        first, last = math.floor(number * side), math.ceil((number + 1) * side)
        starts = np.arange(first, last)
        covered = np.minimum(starts + 1, (number + 1) * side) - np.maximum(starts, number * side)
        weights.append(covered / side)
        parts.append(slice(first, last))
    return np.einsum("i,j,ijc->c", *weights, image[tuple(parts)].astype(float))


def test_size_and_scale() -> None:
    view = AtMpp(ArraySlide(LEVELS), Mpp(0.25, 0.26, ""), 0.6)
    assert view.scale == pytest.approx((2.4, 0.6 / 0.26)) and view.mpp.y == 0.26
    assert view.size == (math.ceil(1003 / 2.4), math.ceil(701 * 0.26 / 0.6))
    assert AtMpp(ArraySlide([np.zeros((10, 30, 3), np.uint8)]), Mpp(0.2, 0.2, ""), 0.6).size == (10, 4)
    assert AtMpp(ArraySlide(LEVELS), MPP, 1000.0).size == (1, 1)


@given(st.integers(1, 5000), st.floats(0.05, 20), st.floats(0.05, 20))
def test_the_grid_covers_the_slide_and_no_more(width: int, mpp: float, wanted: float) -> None:
    slide = ArraySlide([np.broadcast_to(np.uint8(255), (1, width, 3))])
    view = AtMpp(slide, Mpp(mpp, mpp, ""), wanted)
    columns, scale = view.size[0], view.scale[0]
    assert columns * scale >= width - 1e-5 * scale and (columns - 1) * scale < width


@pytest.mark.parametrize(
    ("wanted", "level"), [(0.1, 0), (0.25, 0), (0.49, 0), (0.496, 1), (0.5, 1), (0.98, 1), (1.0, 2), (9.0, 3)]
)
def test_the_coarsest_level_that_is_fine_enough(wanted: float, level: int) -> None:
    assert AtMpp(ArraySlide(LEVELS), MPP, wanted).level == level


def test_both_directions_must_be_fine_enough() -> None:
    assert AtMpp(ArraySlide(LEVELS), Mpp(0.25, 0.2575, ""), 0.5).level == 0


def test_a_level_that_lies_is_not_used() -> None:
    lying = ArraySlide([IMAGE, scene(501, 350, seed=5), LEVELS[2]])
    assert AtMpp(lying, MPP, 0.5).level == 0 and AtMpp(lying, MPP, 1.0).level == 2
    assert np.abs(whole(AtMpp(lying, MPP, 0.5))[:300, :400].astype(int) - LEVELS[1][:300, :400]).mean() < 3


@pytest.mark.parametrize(("wanted", "level"), [(0.25, 0), (0.5, 1), (1.0, 2), (2.0, 3)])
def test_on_a_level_pixels_are_taken_as_they_are(wanted: float, level: int) -> None:
    view = AtMpp(ArraySlide(LEVELS), MPP, wanted)
    width, height = view.size
    assert (view.read(-3, -4, width + 9, height + 9) == cut(LEVELS[level], -3, -4, width + 9, height + 9)).all()


def test_an_error_of_arithmetic_does_not_resample() -> None:
    assert 0.3 / 3 != 0.1
    assert (whole(AtMpp(ArraySlide([IMAGE]), Mpp(0.1, 0.1, ""), 0.3 / 3)) == IMAGE).all()


@pytest.mark.parametrize("wanted", WANTED)
def test_pixels_are_the_means_of_their_areas(wanted: float) -> None:
    view = AtMpp(ArraySlide(LEVELS), MPP, wanted)
    found = whole(view)
    rng = np.random.default_rng(3)
    for _ in range(40):
        column, row = (int(rng.integers(3, max(side - 4, 4))) for side in view.size)
        # Not 0: the bicubic filter is sharper than a box, and reaches beyond it.
        assert np.abs(found[row, column] - area_mean(IMAGE, view.scale, column, row)).max() < 16
    sampled = [(c, r) for c in range(3, view.size[0] - 4, 29) for r in range(3, view.size[1] - 4, 31)]
    errors = [found[r, c] - area_mean(IMAGE, view.scale, c, r) for c, r in sampled]
    assert np.abs(errors).mean() < 2


PLACES = [(80.0 + 240 * column, 90.0 + 255 * row) for column in range(7) for row in range(5)]


@pytest.fixture(scope="module", params=["sub-IFDs", "pages"])
def dots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    """A pyramid on disk with dark dots at `PLACES`."""
    image = np.full((1203, 1601, 3), 255, np.uint8)
    y, x = np.mgrid[-32:32, -32:32]
    for place in PLACES:
        column, row = (int(value) for value in place)
        image[row - 32 : row + 32, column - 32 : column + 32][np.hypot(x + 0.5, y + 0.5) < 30] = 40
    levels = [image, *(reduced(image, factor) for factor in (2, 4, 16))]
    path = tmp_path_factory.mktemp("slides") / "a.tif"
    slide = open_slide(write_pyramid(path, levels, subifds=request.param == "sub-IFDs"))
    assert len(slide.facts.levels) == 4
    yield slide
    slide.close()


@pytest.mark.parametrize("wanted", WANTED)
def test_places_are_right_to_a_tenth_of_a_pixel(wanted: float, dots: Slide) -> None:
    """Dots are found again by their centres of mass."""
    view = AtMpp(dots, MPP, wanted)
    reach = math.ceil(45 / view.scale[0])
    for place in PLACES:
        expected = np.array(place) / view.scale
        left, top = (int(value) for value in expected - reach)
        dark = 255.0 - view.read(left, top, 2 * reach + 1, 2 * reach + 1).mean(-1)
        rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]] + 0.5
        centre = np.array([(columns * dark).sum(), (rows * dark).sum()]) / dark.sum() + (left, top)
        assert np.abs(centre - expected).max() < 0.1


@given(
    wanted=st.sampled_from(WANTED),
    y_is=st.sampled_from([0.25, 0.2437]),
    box=st.tuples(st.integers(-30, 300), st.integers(-30, 300), st.integers(1, 140), st.integers(1, 140)),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_in_one_piece_and_in_pieces(
    wanted: float, y_is: float, box: tuple[int, int, int, int], cuts: tuple[float, float]
) -> None:
    view = AtMpp(ArraySlide(LEVELS), Mpp(0.25, y_is, ""), wanted)
    x, y, width, height = box
    one = view.read(*box)
    w, h = round(cuts[0] * width), round(cuts[1] * height)
    rows = [
        np.hstack([view.read(x, top, w, tall), view.read(x + w, top, width - w, tall)])
        for top, tall in ((y, h), (y + h, height - h))
    ]
    assert (np.vstack(rows) == one).all()


def test_what_is_read_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdseg.slides.at_mpp._MOST", 128)
    slide = ArraySlide([IMAGE])
    view = AtMpp(slide, MPP, 1.7)
    pieces = whole(view)
    assert max(max(width, height) for *_, width, height in slide.asked) <= 128 + 2 * (math.ceil(2 * 6.8) + 2)
    assert len(slide.asked) > 30
    monkeypatch.setattr("lpdseg.slides.at_mpp._MOST", 4096)
    assert np.abs(whole(view).astype(int) - pieces).max() <= 1


def test_white_outside_and_nothing_read_there() -> None:
    slide = ArraySlide([IMAGE])
    view = AtMpp(slide, MPP, 0.4)
    slide.asked.clear()
    assert (view.read(-50, 0, 50, 10) == 255).all() and (view.read(*view.size, 10, 10) == 255).all()
    assert slide.asked == []


def test_damage_is_the_readers_error() -> None:
    view = AtMpp(ArraySlide([IMAGE], bad=(300, 300)), MPP, 0.4)
    with pytest.raises(SlideError, match=r"drawn\.svs cannot be read at level 0"):
        view.read(150, 150, 100, 100)
    view.read(0, 0, 50, 50)


@pytest.mark.parametrize("wanted", [0.0, -1.0, math.nan, math.inf])
def test_a_resolution_that_is_none(wanted: float) -> None:
    with pytest.raises(SettingsError, match="microns per pixel; use a positive number"):
        AtMpp(ArraySlide([IMAGE]), MPP, wanted)

"""Tissue is found, glass is not, and in doubt it is tissue."""

from pathlib import Path

import numpy as np
import pytest
from drawn_slides import ArraySlide, Pixels, reduced, write_pyramid
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Mpp
from lpdseg.slides.tissue_mask import TissueMask, find_tissue

PINK, PURPLE, PALE = (225, 150, 190), (110, 70, 150), (225, 212, 222)
MPP = Mpp(2.0, 2.0, "drawn")  # a mask of 8 microns per pixel has pixels of 4 x 4
SIZE = 800


def glass(seed: int = 0) -> Pixels:
    """A slide without tissue: light grey, with the noise of a camera."""
    noise = np.random.default_rng(seed).integers(-4, 5, (SIZE, SIZE, 3))
    return (np.array((243, 242, 245)) + noise).astype(np.uint8)


def disk(image: Pixels, x: int, y: int, radius: float, colour: tuple[int, int, int]) -> None:
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    image[np.hypot(columns + 0.5 - x, rows + 0.5 - y) < radius] = colour


def found_in(image: Pixels, wanted: float = 2.0) -> TissueMask:
    return find_tissue(AtMpp(ArraySlide([image]), MPP, wanted))


def at(mask: TissueMask, x: int, y: int) -> bool:
    """Whether the mask's pixel at a place of level 0 is tissue."""
    return bool(mask.found[y // 4, x // 4])


def test_glass_has_no_tissue() -> None:
    mask = found_in(glass())
    assert mask.share == 0 and not mask.touches(0, 0, SIZE, SIZE)


@pytest.mark.parametrize("colour", [PINK, PURPLE, PALE])
def test_tissue_is_found_to_a_pixel_of_the_mask(colour: tuple[int, int, int]) -> None:
    image = glass()
    disk(image, 400, 300, 200, colour)
    mask = found_in(image)
    assert mask.scale == (4, 4) and mask.found.shape == (200, 200)
    assert mask.share == pytest.approx(np.pi * 50**2 / 200**2, rel=0.03)
    rows, columns = np.mgrid[:200, :200] + 0.5
    distance = np.hypot(columns - 100, rows - 75)
    assert mask.found[distance < 49].all() and not mask.found[distance > 51.5].any()


def test_specks_are_dropped_and_holes_filled_but_not_large_ones() -> None:
    image = glass()
    disk(image, 300, 300, 200, PINK)
    disk(image, 250, 300, 30, (243, 242, 245))  # a lumen of 120 microns
    disk(image, 370, 300, 80, (243, 242, 245))  # a vessel of 320
    disk(image, 700, 700, 8, PINK)  # dust of 32
    disk(image, 700, 100, 25, PINK)  # a fragment of 100
    mask = found_in(image)
    assert at(mask, 250, 300) and not at(mask, 370, 300)
    assert not at(mask, 700, 700) and at(mask, 700, 100)


def test_a_thin_septum_is_tissue() -> None:
    image = glass()
    image[100:700, 400:406] = PURPLE  # 12 microns wide, 1.2 mm long
    assert found_in(image).touches(380, 300, 40, 40)


def test_black_that_was_filled_in_is_no_tissue() -> None:
    image = glass()
    disk(image, 500, 400, 150, PINK)
    image[:, :203] = 0
    image[:57] = (3, 0, 5)
    mask = found_in(image)
    assert not mask.found[:, :48].any() and not mask.found[:12].any()
    assert not any(at(mask, x, 100) for x in range(195, 260, 4))  # nor the grey edge between black and glass
    assert at(mask, 500, 400)
    assert found_in(np.zeros((SIZE, SIZE, 3), np.uint8)).share == 0


@pytest.mark.parametrize("colour", [(40, 160, 80), (30, 90, 170)])
def test_green_and_blue_ink_is_no_tissue(colour: tuple[int, int, int]) -> None:
    image = glass()
    image[100:140, 50:750] = colour
    disk(image, 400, 500, 150, PURPLE)
    mask = found_in(image)
    assert not mask.found[:40].any() and at(mask, 400, 500)


def test_ink_that_encloses_glass_does_not_make_it_a_hole() -> None:
    image = glass()
    disk(image, 400, 400, 75, (40, 160, 80))
    disk(image, 400, 400, 40, (243, 242, 245))
    assert found_in(image).share == 0


@pytest.mark.parametrize("colour", [(40, 160, 80), (10, 10, 10)])
def test_a_little_ink_or_pigment_on_tissue_is_tissue(colour: tuple[int, int, int]) -> None:
    image = glass()
    disk(image, 400, 400, 200, PINK)
    disk(image, 400, 400, 30, colour)
    disk(image, 590, 400, 30, colour)
    mask = found_in(image)
    assert at(mask, 400, 400) and at(mask, 590, 400)


@given(
    st.integers(-100, 900), st.integers(-100, 900), st.integers(1, 300), st.integers(1, 300), st.floats(1.0, 9.7)
)
def test_touches_what_it_covers_and_little_more(x: int, y: int, width: int, height: int, scale: float) -> None:
    found = np.zeros((80, 90), bool)
    found[30:33, 50:60] = found[70, 2] = True
    mask = TissueMask(found, (scale, scale))
    rows, columns = np.nonzero(found)

    def meets(slack: float) -> bool:
        across = (columns - slack < (x + width) / scale) & (columns + 1 + slack > x / scale)
        down = (rows - slack < (y + height) / scale) & (rows + 1 + slack > y / scale)
        return bool((across & down).any())

    assert mask.touches(x, y, width, height) >= meets(0)
    assert mask.touches(x, y, width, height) <= meets(2)


def test_the_view_sets_the_scale() -> None:
    image = glass()
    disk(image, 400, 400, 200, PINK)
    finer, coarser = found_in(image, 1.0), found_in(image, 16.0)
    assert finer.scale == (8, 8) and finer.touches(700, 700, 200, 200) and not finer.touches(0, 0, 200, 200)
    assert coarser.scale == (1, 1) and coarser.found.shape == (100, 100)
    assert coarser.share == pytest.approx(finer.share, rel=0.05)


def test_bands_give_the_same_and_bound_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    image = glass()
    disk(image, 400, 400, 200, PINK)
    one = found_in(image)
    monkeypatch.setattr("lpdseg.slides.tissue_mask._BAND", 64)
    slide = ArraySlide([image])
    assert (find_tissue(AtMpp(slide, MPP, 2.0)).found == one.found).all()
    assert max(height for *_, height in slide.asked) <= 64 * 4 + 2 * 10


def test_the_coarsest_level_that_fits_is_read(tmp_path: Path) -> None:
    image = glass()
    disk(image, 400, 300, 200, PINK)
    path = write_pyramid(tmp_path / "a.tif", [image, reduced(image, 2), reduced(image, 4), reduced(image, 8)])
    slide = open_slide(path)
    levels = []
    read = slide.read
    slide.read = lambda level, *box: levels.append(level) or read(level, *box)  # type: ignore[method-assign]
    mask = find_tissue(AtMpp(slide, MPP, 2.0))
    slide.close()
    assert levels[-1] == 2
    assert np.mean(mask.found != found_in(image).found) < 0.005

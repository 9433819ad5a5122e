"""Scanners' formats through OpenSlide: pixels, levels, metadata, and damage that does not spread."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_slides import cut, lose_tile, reduced, scene, spoil_tile, write_pyramid, write_svs
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpdseg.errors import SettingsError
from lpdseg.slides.openslide_slide import OpenSlideSlide, _properties, open_with_openslide
from lpdseg.slides.slide import Bounds, Level, Mpp, Slide, SlideError
from lpdseg.slides.tiff_slide import open_tiff

pytest.importorskip("openslide", reason="the extra `slides` is not installed")

IMAGE = scene(1202, 803)  # no multiple of 4: OpenSlide takes its downsample for 4.00x
LEVELS = (IMAGE, reduced(IMAGE, 2), reduced(IMAGE, 4))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSlideSlide]:
    found = open_with_openslide(write_svs(tmp_path_factory.mktemp("slides") / "a.svs", LEVELS))
    assert found is not None
    yield found
    found.close()


def test_facts(slide: OpenSlideSlide) -> None:
    assert isinstance(slide, Slide)
    assert slide.facts.size == (1202, 803) and slide.facts.bounds is None and slide.facts.vendor == "aperio"
    assert slide.facts.levels[1:] == (Level(601, 401, (2.0, 2.0)), Level(300, 200, (4.0, 4.0)))
    assert slide.facts.mpp == Mpp(0.25, 0.25, "openslide.mpp-x and openslide.mpp-y")


@given(st.integers(-50, 1250), st.integers(-50, 850), st.integers(1, 300), st.integers(1, 300))
def test_level_0_is_bit_equal_and_white_outside(
    slide: OpenSlideSlide, x: int, y: int, width: int, height: int
) -> None:
    assert (slide.read(0, x, y, width, height) == cut(IMAGE, x, y, width, height)).all()


@pytest.mark.parametrize("level", [1, 2])
def test_a_pixel_of_a_level_is_the_same_in_every_rectangle(slide: OpenSlideSlide, level: int) -> None:
    height, width = LEVELS[level].shape[:2]
    whole = slide.read(level, 0, 0, width, height)
    # OpenSlide blends by up to an eighth of a pixel; a shift by one would be three times as far off.
    distance = np.abs(whole.astype(int) - LEVELS[level]).mean()
    assert distance < 0.4 * np.abs(whole[:, 1:].astype(int) - LEVELS[level][:, :-1]).mean()
    rng = np.random.default_rng(2)
    for _ in range(25):
        x, y = int(rng.integers(-20, width)), int(rng.integers(-20, height))
        w, h = (int(value) for value in rng.integers(1, 290, 2))
        assert (slide.read(level, x, y, w, h) == cut(whole, x, y, w, h)).all()


def test_a_generic_tiff_is_left_to_the_next_reader(tmp_path: Path) -> None:
    assert open_with_openslide(write_pyramid(tmp_path / "a.tif", LEVELS)) is None
    (tmp_path / "b.svs").write_text("not a slide")
    assert open_with_openslide(tmp_path / "b.svs") is None


def test_microns_from_resolution_tags_where_the_vendor_says_nothing(tmp_path: Path) -> None:
    tags = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    found = open_with_openslide(write_svs(tmp_path / "a.svs", LEVELS, mpp="", **tags))
    assert found is not None and found.facts.mpp is not None
    assert found.facts.mpp.x == found.facts.mpp.y == 0.5 and "resolution tags" in found.facts.mpp.source
    found.close()
    found = open_with_openslide(write_svs(tmp_path / "b.svs", LEVELS, mpp=""))
    assert found is not None and found.facts.mpp is None
    found.close()


def test_a_spoilt_tile_is_told_by_its_place_and_the_others_are_read(
    tmp_path: Path, silent: Callable[[], bool]
) -> None:
    path = write_svs(tmp_path / "a.svs", LEVELS)
    spoil_tile(path, 0, 20)  # 19 tiles to a row
    slide = open_with_openslide(path)
    assert slide is not None
    with pytest.raises(SlideError, match=r"a\.svs cannot be read at level 0, x 60 to 100, y 60 to 100 \("):
        slide.read(0, 60, 60, 40, 40)
    assert (slide.read(0, 128, 0, 300, 60) == IMAGE[:60, 128:428]).all()
    slide.close()
    assert silent()


def test_openslide_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_svs(tmp_path / "a.svs", LEVELS)
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(SettingsError, match=r"cannot be loaded; .*pip install 'lpdseg\[slides\]'"):
        open_with_openslide(path)


def fake(properties: dict[str, str], rgba: tuple[int, int, int, int]) -> OpenSlideSlide:
    """A slide of 40 x 30 pixels in one colour."""
    handle = SimpleNamespace(
        level_dimensions=((40, 30),),
        level_downsamples=(1.0,),
        dimensions=(40, 30),
        properties=properties,
        read_region=lambda place, level, size: Image.new("RGBA", size, rgba),
    )
    return OpenSlideSlide(Path("a.mrxs"), handle)


def test_what_was_not_scanned_has_the_background_colour() -> None:
    assert (fake({}, (0, 0, 0, 0)).read(0, 0, 0, 4, 4) == 255).all()
    grey = fake({"openslide.background-color": "E0E0F0"}, (100, 0, 0, 0))
    found = grey.read(0, -1, 0, 4, 4)
    assert (found[:, 0] == 255).all() and (found[:, 1:] == (0xE0, 0xE0, 0xF0)).all()
    half = fake({"openslide.background-color": "FFFFFF"}, (55, 155, 255, 128))
    assert np.abs(half.read(0, 0, 0, 2, 2).astype(int) - (155, 205, 255)).max() <= 1
    assert (fake({"openslide.background-color": "none"}, (1, 2, 3, 0)).read(0, 0, 0, 2, 2) == 255).all()


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (("5", "6", "20", "10"), Bounds(5, 6, 20, 10)),
        (("0", "0", "40", "30"), None),
        (("5", "6", "36", "10"), None),
        (("-1", "6", "20", "10"), None),
        (("x", "6", "20", "10"), None),
        (("nan", "6", "20", "10"), None),
    ],
)
def test_bounds(values: tuple[str, ...], bounds: Bounds | None) -> None:
    keys = ("x", "y", "width", "height")
    told = {f"openslide.bounds-{key}": value for key, value in zip(keys, values, strict=True)}
    assert fake(told, (0, 0, 0, 0)).facts.bounds == bounds
    assert fake({"openslide.bounds-x": "5"}, (0, 0, 0, 0)).facts.bounds is None


@pytest.mark.skipif("LPDSEG_DATA" not in os.environ, reason="LPDSEG_DATA names no folder with real slides")
def test_openslide_and_tifffile_agree_on_a_real_slide() -> None:
    path = Path(os.environ["LPDSEG_DATA"], "slides", "cmu-1-small-region.svs")
    slides = open_with_openslide(path), open_tiff(path)
    one, other = (slide.read(0, 700, 900, 900, 700) for slide in slides if slide is not None)
    assert (one == other).all() and one.std() > 20
    for slide in slides:
        assert slide is not None and slide.facts.size == (2220, 2967)
        assert slide.facts.mpp is not None and slide.facts.mpp.x == 0.499
        slide.close()


def test_a_tile_of_a_coarser_level_that_was_left_out_is_no_glass(tmp_path: Path) -> None:
    image = scene(512, 384)
    path = write_svs(tmp_path / "a.svs", [image, reduced(image, 2), reduced(image, 4)])
    lose_tile(path, 3, 0)  # the thumbnail is the first page after level 0
    slide = open_with_openslide(path)
    assert slide is not None
    found = slide.read(2, 0, 0, 128, 96).astype(int)
    slide.close()
    assert np.abs(found - reduced(image, 4)).mean() < 3


def test_tiles_that_aperios_level_0_lacks_are_told(tmp_path: Path) -> None:
    image = scene(512, 384)
    path = write_svs(tmp_path / "a.svs", [image, reduced(image, 2)])
    told = f"{path} lacks 2 of 48 tiles of level 0, which are read as background"
    for tiles, notes in (((), ()), ((0, 1), (told,))):
        lose_tile(path, 0, *tiles)
        slide = open_with_openslide(path)
        assert slide is not None
        assert tuple(note.partition(";")[0] for note in slide.facts.notes) == notes
        slide.close()


def test_what_openslide_lists_and_cannot_give_is_passed_over() -> None:
    """It lists properties whose names are no text under names that it does not know."""

    class Listed(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            return iter(("a", "lost"))

    assert _properties(SimpleNamespace(properties=Listed(a="b"))) == {"a": "b"}

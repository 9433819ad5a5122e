"""Plain images as slides of one level."""

from pathlib import Path

import numpy as np
import pytest
from drawn_slides import cut, scene
from PIL import Image

from lpdseg.slides.image_slide import open_image
from lpdseg.slides.slide import Level, Slide, SlideError

IMAGE = scene(60, 40)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_pixels_and_facts(name: str, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / name)
    slide = open_image(tmp_path / name)
    assert isinstance(slide, Slide)
    assert slide.facts.levels == (Level(60, 40, (1.0, 1.0)),) and slide.facts.bounds is None
    for box in ((0, 0, 60, 40), (-5, 30, 30, 20), (100, 100, 3, 3)):
        assert (slide.read(0, *box) == cut(IMAGE, *box)).all()
    with pytest.raises(IndexError):
        slide.read(1, 0, 0, 1, 1)
    slide.read(0, 0, 0, 5, 5)[:] = 0  # what was read is the caller's own
    assert (slide.read(0, 0, 0, 5, 5) == IMAGE[:5, :5]).all()
    slide.close()


@pytest.mark.parametrize("dpi", [72, 300, 25_400, 101_600])
def test_dots_per_inch_are_not_believed(dpi: int, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.fromarray(IMAGE).save(tmp_path / name, dpi=(dpi, dpi))
        slide = open_image(tmp_path / name)
        assert slide is not None and slide.facts.mpp is None


def test_exif_does_not_turn_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    Image.fromarray(IMAGE).save(tmp_path / "a.jpg", exif=exif)
    slide = open_image(tmp_path / "a.jpg")
    assert slide is not None and slide.facts.size == (60, 40)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_other_modes(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(SlideError, match=r"has mode .*save it as 8-bit RGB"):
        open_image(path)


def test_several_images(tmp_path: Path) -> None:
    image = Image.fromarray(IMAGE)
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image])
    assert open_image(tmp_path / "a.tif") is None  # perhaps a pyramid
    image.save(tmp_path / "a.png", save_all=True, append_images=[image.rotate(180)])
    with pytest.raises(SlideError, match="holds several images"):
        open_image(tmp_path / "a.png")


def test_too_large_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    monkeypatch.setattr("lpdseg.slides.image_slide.MAX_PIXELS", 60 * 40)
    assert open_image(tmp_path / "a.png") is not None
    monkeypatch.setattr("lpdseg.slides.image_slide.MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(SlideError, match=r"has 60 x 40 pixels, .*tiled TIFF"):
        open_image(tmp_path / "a.png")
    for most in (1000, 1500):  # where Pillow refuses, and where it warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(SlideError, match="pixels, which do not fit in memory"):
            open_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_damage(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(IMAGE).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SlideError) as error:
        open_image(path)
    assert str(path) in str(error.value) and "replace the damaged file" in str(error.value)
    path.write_bytes(bytes(40))
    assert open_image(path) is None


def test_zlib_noise_does_not_pass_for_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = np.random.default_rng(0).bytes(40)
    path.write_bytes(bytes(data))
    with pytest.raises(SlideError, match="cannot be decoded"):
        open_image(path)

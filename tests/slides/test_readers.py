"""Opening slides: which reader, and one sentence where none can."""

import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_slides import reduced, scene, write_pyramid, write_svs
from PIL import Image

from drawn_scn import write_scn
from lpdseg.errors import LpdsegError, SettingsError
from lpdseg.slides.image_slide import ImageSlide
from lpdseg.slides.openslide_slide import OpenSlideSlide
from lpdseg.slides.readers import open_slide, slide_suffixes
from lpdseg.slides.slide import SlideError
from lpdseg.slides.tiff_slide import TiffSlide

IMAGE = scene(300, 200)
LEVELS = (IMAGE, reduced(IMAGE, 2))


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if these modules were not installed."""
    find = importlib.util.find_spec

    def missing(name: str, *more: Any) -> Any:
        return None if name in modules else find(name, *more)

    monkeypatch.setattr("lpdseg.extras.find_spec", missing)


def test_each_format_has_its_reader(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "d.PNG")
    for path, kind in {
        write_svs(tmp_path / "a.svs", LEVELS): OpenSlideSlide,
        write_svs(tmp_path / "b.tif", LEVELS): OpenSlideSlide,
        write_pyramid(tmp_path / "c.tiff", LEVELS): TiffSlide,
        tmp_path / "d.PNG": ImageSlide,
    }.items():
        slide = open_slide(path)
        assert type(slide) is kind and slide.path == path
        assert (slide.read(0, 0, 0, 300, 200) == IMAGE).all()
        slide.close()


def test_without_a_library_the_next_reader_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svs, pyramid = write_svs(tmp_path / "a.svs", LEVELS), write_pyramid(tmp_path / "b.tif", LEVELS)
    Image.fromarray(IMAGE).save(tmp_path / "flat.tif")
    without(monkeypatch, "openslide")
    slide = open_slide(svs)
    assert type(slide) is TiffSlide and len(slide.facts.levels) == 2
    slide.close()
    without(monkeypatch, "openslide", "tifffile")
    assert type(open_slide(tmp_path / "flat.tif")) is ImageSlide
    for path in (svs, pyramid):
        with pytest.raises(SettingsError, match=r"comes with the extra 'slides': pip install 'lpdseg\[slides\]'"):
            open_slide(path)


def spoilt(kind: str, folder: Path) -> Path:
    path = folder / "a.svs"
    if kind == "text":
        path.write_text("this is no slide\n" * 100)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(bytes(5000))
    elif kind == "folder":
        path.mkdir()
    elif kind == "name":
        path = folder / "a.docx"
        path.write_bytes(b"PK")
    elif kind.startswith("cut"):
        write_svs(path, LEVELS)
        path.write_bytes(path.read_bytes()[: int(kind.removeprefix("cut "))])
    elif kind == "no pixels":
        write_svs(path, LEVELS)
        data = bytearray(path.read_bytes())
        data[8:500] = bytes(492)
        path.write_bytes(bytes(data))
    return path


BAD = {
    "text": "is no slide in spite of its name",
    "empty": "is empty",
    "zeros": "is no slide in spite of its name",
    "folder": "is a folder",
    "name": "slides end in .svs",
    "missing": "does not exist",
    "cut 3": "",
    "cut 20": "",
    "cut 1000": "",
    "cut 40000": "",
    "no pixels": "",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_opened(kind: str, tmp_path: Path, silent: Callable[[], bool]) -> None:
    path = spoilt(kind, tmp_path)
    with pytest.raises(LpdsegError) as error:
        open_slide(path)
    told = str(error.value)
    assert told.startswith(f"{path} ") and BAD[kind] in told and "\n" not in told and "; " in told
    assert silent()


def test_what_one_reader_finds_damaged_the_next_does_not_open(tmp_path: Path, silent: Callable[[], bool]) -> None:
    path = write_svs(tmp_path / "a.svs", LEVELS)
    path.write_bytes(path.read_bytes()[:-100])  # within the last tile, of the last level
    with pytest.raises(SlideError, match=r"a\.svs cannot be opened as a slide \(.*\); copy or export it again"):
        open_slide(path)
    assert silent()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", LEVELS)
    path.chmod(0)
    with pytest.raises(SlideError, match=r"cannot be read .*change its rights"):
        open_slide(path)


def test_a_file_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_svs(tmp_path / "a.svs", LEVELS)

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lpdseg.slides.readers.open_file", refuse)
    with pytest.raises(SlideError, match=r"a\.svs cannot be read \(Permission denied\); change its rights"):
        open_slide(path)


def test_suffixes_come_once() -> None:
    found = slide_suffixes()
    assert len(set(found)) == len(found) and {".svs", ".ndpi", ".tif", ".png"} <= set(found)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in found)


def test_a_slide_of_less_than_a_pixel(tmp_path: Path) -> None:
    path = write_scn(tmp_path / "a.scn", LEVELS[0], (64, 64), (2_000, 2_000))
    told = re.sub(rb"size([XY])='(\d+)\d'", lambda one: b"size%s='-%s'" % (one[1], one[2]), path.read_bytes())
    path.write_bytes(told)
    with pytest.raises(SlideError, match=r"a\.scn claims -\d+ x -\d+ pixels, as no slide has"):
        open_slide(path)

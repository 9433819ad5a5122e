"""The plain label pyramid, as OpenSlide and Pillow see it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from lpdseg.errors import OutputError
from lpdseg.export.label_pyramid import halved
from lpdseg.export.label_tiff import write_label_tiff
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), indices=(3, 9), background=1)


@pytest.fixture(scope="module")
def label_map() -> LabelMap:
    """Wider than two tiles and of odd sides; labels as in a mask, without what a mean could hide in."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (39, 56), np.uint8).repeat(21, 0).repeat(21, 1)[:815, :1173]
    return LabelMap(mask, (2.0, 2.0), (0.5, 0.25), (2346, 1630), CLASSES, Bounds(20, 10, 200, 100), (20.0, 10.0))


def test_openslide_reads_all_levels_as_labels(label_map: LabelMap, tmp_path: Path) -> None:
    write_label_tiff(label_map, tmp_path / "x.tif")
    expected = CLASSES.to_disk()[label_map.labels]
    with openslide.OpenSlide(tmp_path / "x.tif") as slide:
        assert slide.detect_format(tmp_path / "x.tif") == "generic-tiff"
        assert slide.level_dimensions == ((1173, 815), (587, 408), (294, 204))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        for level, size in enumerate(slide.level_dimensions):
            pixels = np.asarray(slide.read_region((0, 0), level, size))
            for channel in range(3):
                np.testing.assert_array_equal(pixels[..., channel], expected)
            assert (pixels[..., 3] == 255).all()
            expected = halved(expected)


def test_it_is_plain(label_map: LabelMap, tmp_path: Path) -> None:
    write_label_tiff(replace(label_map, about="Of µm."), tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert not file.is_ome and len(file.pages) == 3
        for number, page in enumerate(file.pages):
            assert isinstance(page, tifffile.TiffPage)
            assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and not page.subifds
            assert page.subfiletype == (0 if number == 0 else 1) and page.is_tiled
            assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        text = file.pages[0].description
    assert "<" not in text
    told = json.loads(text)
    assert told["origin"] == [20, 10] and told["scanned"] == [20, 10, 200, 100] and told["about"] == "Of µm."
    assert TissueClasses.from_dict(told["classes"]) == CLASSES
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "L"


def test_a_file_that_cannot_be_written_leaves_nothing(label_map: LabelMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_label_tiff(label_map, tmp_path / "file" / "x.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

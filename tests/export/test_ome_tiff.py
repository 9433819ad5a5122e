"""The label pyramid: every level and all metadata come back."""

import json
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from lpdseg.errors import OutputError
from lpdseg.export.label_pyramid import halved, level_sizes
from lpdseg.export.ome_tiff import write_grey_ome_tiff, write_ome_tiff
from lpdseg.export.ome_zarr import halved_mean
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma & co"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 3))


def label_map(mask: np.ndarray, classes: TissueClasses = CLASSES) -> LabelMap:
    return LabelMap(mask, (2.0, 2.0), (0.5, 0.25), (mask.shape[1] * 2, mask.shape[0] * 2), classes)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """Wider than two tiles and of odd sides."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (39, 56), np.uint8).repeat(21, 0).repeat(21, 1)[:815, :1173]


@given(labels=MASKS)
def test_a_pixel_of_the_next_level_is_the_commonest_of_four(labels: np.ndarray) -> None:
    small = halved(labels)
    height, width = labels.shape
    assert small.shape == ((height + 1) // 2, (width + 1) // 2)
    for y, x in np.ndindex(small.shape):
        four = [labels[min(2 * y + dy, height - 1), min(2 * x + dx, width - 1)] for dy in (0, 1) for dx in (0, 1)]
        # `most_common` keeps the order of first appearance among equals.
        assert small[y, x] == Counter(four).most_common(1)[0][0]


def test_levels_end_where_one_tile_is_enough() -> None:
    assert level_sizes((512, 3)) == [(512, 3)]
    assert level_sizes((1173, 815)) == [(1173, 815), (587, 408), (294, 204)]


def test_all_levels_come_back(mask: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.ome.tiff"
    write_ome_tiff(label_map(mask), path)
    expected = CLASSES.to_disk()[mask]
    with tifffile.TiffFile(path) as file:
        assert file.is_ome and file.is_bigtiff
        (series,) = file.series
        assert [level.shape for level in series.levels] == [(815, 1173), (408, 587), (204, 294)]
        for level in series.levels:
            np.testing.assert_array_equal(level.asarray(), expected)
            page = level.pages[0]
            assert (page.tilelength, page.tilewidth) == (512, 512)
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
            np.testing.assert_array_equal(page.colormap[:, 9], np.array([0, 200, 0]) * 257)
            assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
            # 0.5 and 0.25 microns per pixel of the finest
            shrunk = np.array([1173, 815]) / page.shape[::-1]
            np.testing.assert_allclose(1e4 / np.array(page.resolution), shrunk * [0.5, 0.25], rtol=1e-6)
            expected = halved(expected)
    assert [name.name for name in (tmp_path / "sub").iterdir()] == ["x.ome.tiff"]


def test_grey_values_come_back_and_are_averaged(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (815, 1173), np.uint8)
    path = tmp_path / "x.ome.tif"
    write_grey_ome_tiff(label_map(values), path, "sureness", {"unit": "none & <such>"})
    expected = values
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert [level.shape for level in series.levels] == [(815, 1173), (408, 587), (204, 294)]
        for level in series.levels:
            np.testing.assert_array_equal(level.asarray(), expected)
            assert level.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK
            expected = halved_mean(expected[None])[0]
        told = file.ome_metadata
    assert told is not None and '<M K="unit">none &amp; &lt;such&gt;</M>' in told and 'Name="sureness"' in told
    assert "tissue class" not in told and 'PhysicalSizeX="0.5"' in told


def test_other_programs_see_the_colours(mask: np.ndarray, tmp_path: Path) -> None:
    write_ome_tiff(label_map(mask), tmp_path / "x.ome.tiff")
    with Image.open(tmp_path / "x.ome.tiff") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), CLASSES.palette()[CLASSES.to_disk()[mask]])


def test_the_metadata_tell_microns_and_classes(mask: np.ndarray, tmp_path: Path) -> None:
    write_ome_tiff(label_map(mask), tmp_path / "x.ome.tiff")
    with tifffile.TiffFile(tmp_path / "x.ome.tiff") as file:
        text = file.ome_metadata
    assert text is not None
    root = ElementTree.fromstring(text)
    name = {"ome": root.tag[1:].split("}")[0]}
    pixels = root.find(".//ome:Pixels", name)
    assert pixels is not None
    told = {
        "PhysicalSizeX": "0.5", "PhysicalSizeXUnit": "µm", "PhysicalSizeY": "0.25", "PhysicalSizeYUnit": "µm",
        "SizeX": "1173", "SizeY": "815", "SizeC": "1", "Type": "uint8",
    }  # fmt: skip
    assert told.items() <= pixels.attrib.items()
    pairs = {item.attrib["K"]: item.text for item in root.iterfind(".//ome:MapAnnotation/ome:Value/ome:M", name)}
    assert pairs == {"3": "tumour", "9": "stroma & co", "1": "background"}
    description = root.findtext(".//ome:Image/ome:Description", namespaces=name)
    assert description is not None
    described = json.loads(description)
    assert TissueClasses.from_dict(described["classes"]) == CLASSES and described["level0_per_pixel"] == [2, 2]
    assert described["origin"] == [0, 0] and described["scanned"] is None


def test_the_scanned_part_is_told_and_so_is_the_model(tmp_path: Path) -> None:
    scanned = replace(
        label_map(np.zeros((30, 40), np.uint8)), bounds=Bounds(20, 10, 40, 30), origin=(20.0, 10.0), about="For µ."
    )
    write_ome_tiff(scanned, tmp_path / "x.ome.tif")
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as file:
        text = file.ome_metadata
    assert text is not None
    plane = next(iter(ElementTree.fromstring(text).iterfind(".//{*}Plane")))
    # 20 px of level 0 are 10 px of the mask, 5 microns.
    assert (float(plane.attrib["PositionX"]), float(plane.attrib["PositionY"])) == (-5, -1.25)
    description = ElementTree.fromstring(text).findtext(".//{*}Image/{*}Description")
    assert description is not None
    described = json.loads(description)
    assert described["origin"] == [20, 10] and described["scanned"] == [20, 10, 40, 30]
    assert described["about"] == "For µ."


def test_the_identifier_is_that_of_the_slide_and_not_of_the_machine(tmp_path: Path) -> None:
    found = []
    for slide in ("a", "a", "b"):
        write_ome_tiff(replace(label_map(np.zeros((3, 4), np.uint8)), slide_id=slide), tmp_path / "x.ome.tif")
        with tifffile.TiffFile(tmp_path / "x.ome.tif") as file:
            text = file.ome_metadata
        assert text is not None
        found.append(uuid.UUID(ElementTree.fromstring(text).attrib["UUID"]))
    assert found[0] == found[1] != found[2] and found[0].version == 5


def test_without_a_background_class_nothing_is_255_and_pale(tmp_path: Path) -> None:
    classes = TissueClasses(("tumour", "stroma"))
    write_ome_tiff(label_map(np.array([[0, 2]], np.uint8), classes), tmp_path / "x.ome.tiff")
    with Image.open(tmp_path / "x.ome.tiff") as image:
        assert np.asarray(image).tolist() == [[0, 255]]
        assert image.convert("RGB").getpixel((1, 0)) == (255, 255, 255)


def test_the_mask_is_read_in_bands(tmp_path: Path) -> None:
    class Labels:
        shape = (1200, 2)

        def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
            assert place[0].stop - place[0].start <= 512
            return np.zeros((place[0].stop - place[0].start, 2), np.uint8)

    write_ome_tiff(LabelMap(Labels(), (1.0, 1.0), (1.0, 1.0), (2, 1200), CLASSES), tmp_path / "x.ome.tiff")
    assert tifffile.imread(tmp_path / "x.ome.tiff").shape == (1200, 2)


def test_a_file_that_cannot_be_written_leaves_nothing(mask: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_ome_tiff(label_map(mask), tmp_path / "file" / "x.ome.tiff")

    class Broken:
        shape = (2, 2)

        def __getitem__(self, place: object) -> np.ndarray:
            raise OSError(5, "Input/output error")

    with pytest.raises(OutputError, match="Input/output error"):
        write_ome_tiff(LabelMap(Broken(), (1.0, 1.0), (1.0, 1.0), (2, 2), CLASSES), tmp_path / "x.ome.tiff")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

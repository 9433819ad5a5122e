"""Probabilities written in bands: the arrays, their pyramid and the metadata of OME-Zarr 0.4."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lpdseg.errors import OutputError
from lpdseg.export.ome_zarr import halved_mean, probability_store
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour",), ((255, 0, 0),), background=1, background_colour=(0, 16, 255))
STACKS = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=7))


def label_map(height: int, width: int) -> LabelMap:
    size = (width * 2, height * 2)
    return LabelMap(np.zeros((height, width), np.uint8), (2.0, 2.0), (0.5, 0.25), size, CLASSES)


def write(path: Path, values: np.ndarray, tops: list[int], rows: int) -> None:
    with probability_store(path, label_map(*values.shape[1:]), CLASSES.channel_names) as store:
        for top in tops:
            store.write_rows(top, values[:, top : top + rows])


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Of odd sides and more than two chunks wide."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, 77, 1171), np.uint8).repeat(9, 1)[:, :691]


@given(stack=STACKS)
def test_the_next_level_is_the_mean_of_four(stack: np.ndarray) -> None:
    small = halved_mean(stack)
    count, height, width = stack.shape
    assert small.shape == (count, (height + 1) // 2, (width + 1) // 2)
    for c, y, x in np.ndindex(small.shape):
        rows, columns = [2 * y, min(2 * y + 1, height - 1)], [2 * x, min(2 * x + 1, width - 1)]
        four = stack[c][np.ix_(rows, columns)].astype(int)
        assert small[c, y, x] == (four.sum() + 2) // 4


def test_bands_in_any_order_come_back_with_their_pyramid(values: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.ome.zarr"
    write(path, values, [400, 0, 200, 600], 200)
    group = zarr.open_group(str(path), mode="r")
    expected = values
    for level in ("0", "1", "2"):
        array = group[level]
        assert isinstance(array, zarr.Array) and array.dtype == np.uint8 and array.chunks == (1, 512, 512)
        np.testing.assert_array_equal(array[:], expected)
        expected = halved_mean(expected)
    assert sorted(group) == ["0", "1", "2", "OME"] and sorted(group.array_keys()) == ["0", "1", "2"]
    assert [entry.name for entry in path.parent.iterdir()] == ["x.ome.zarr"]
    assert (path / "0" / "1" / "1" / "2").is_file()  # separated by slashes, as version 0.4 asks


def test_the_metadata_are_those_of_version_0_4(values: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "x.ome.zarr", values, [0], 691)
    assert json.loads((tmp_path / "x.ome.zarr" / ".zgroup").read_text()) == {"zarr_format": 2}
    attributes = json.loads((tmp_path / "x.ome.zarr" / ".zattrs").read_text())
    (image,) = attributes["multiscales"]
    assert image["version"] == "0.4" and image["name"] == "x"
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert {axis.get("unit") for axis in image["axes"]} == {None, "micrometer"}
    scales = {data["path"]: data["coordinateTransformations"][0]["scale"] for data in image["datasets"]}
    assert scales == {"0": [1, 0.25, 0.5], "1": [1, 0.5, 1], "2": [1, 1, 2]}
    shown = [(channel["label"], channel["color"]) for channel in attributes["omero"]["channels"]]
    assert shown == [("tumour", "FF0000"), ("background", "0010FF")]
    told = attributes["lpdseg"]
    assert (told["probability"], told["level0_per_pixel"], told["origin"]) == ("value / 255", [2, 2], [0, 0])
    array = json.loads((tmp_path / "x.ome.zarr" / "0" / ".zarray").read_text())
    assert array["dimension_separator"] == "/"
    assert (array["compressor"]["id"], array["compressor"]["cname"]) == ("blosc", "zstd")


def test_the_omero_block_is_whole(values: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "x.ome.zarr", values, [0], 691)
    attributes = json.loads((tmp_path / "x.ome.zarr" / ".zattrs").read_text())
    omero = attributes["omero"]
    # What TIAToolbox makes its objects of: a key that it does not know, or one that is missing, is an error there.
    known = {"active", "coefficient", "color", "family", "inverted", "label", "window"}
    assert all(set(channel) == known for channel in omero["channels"])
    assert omero["rdefs"] == {"defaultT": 0, "defaultZ": 0, "model": "color"}
    assert omero["version"] == "0.4" and omero["id"] == 1 and attributes["name"] == "lpdseg"


def test_bio_formats_finds_scale_names_and_colours(values: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "x.ome.zarr", values, [0], 691)
    root = ElementTree.parse(tmp_path / "x.ome.zarr" / "OME" / "METADATA.ome.xml").getroot()
    pixels = root.find(".//{*}Pixels")
    assert pixels is not None
    told = {
        "PhysicalSizeX": "0.5", "PhysicalSizeXUnit": "µm", "PhysicalSizeY": "0.25", "SizeX": "1171",
        "SizeY": "691", "SizeC": "2", "Type": "uint8",
    }  # fmt: skip
    assert told.items() <= pixels.attrib.items()
    channels = [(one.attrib["Name"], int(one.attrib["Color"])) for one in pixels.iterfind("{*}Channel")]
    # RGBA in 32 bits with a sign
    assert channels == [("tumour", 0xFF0000FF - 2**32), ("background", 0x0010FFFF)]


def test_the_scanned_part_is_told(tmp_path: Path) -> None:
    scanned = replace(label_map(600, 600), bounds=Bounds(20, 10, 40, 30), origin=(20.0, 10.0), about="For µ.")
    with probability_store(tmp_path / "x.ome.zarr", scanned, CLASSES.channel_names):
        pass
    attributes = json.loads((tmp_path / "x.ome.zarr" / ".zattrs").read_text())
    for data in attributes["multiscales"][0]["datasets"]:
        _, moved = data["coordinateTransformations"]
        assert moved == {"type": "translation", "translation": [0, -1.25, -5]}
    assert attributes["lpdseg"]["scanned"] == [20, 10, 40, 30] and attributes["lpdseg"]["about"] == "For µ."
    text = (tmp_path / "x.ome.zarr" / "OME" / "METADATA.ome.xml").read_text("utf-8")
    plane = ElementTree.fromstring(text.encode()).find(".//{*}Plane")
    assert plane is not None and (plane.attrib["PositionX"], plane.attrib["PositionY"]) == ("-5.0", "-1.25")
    assert "<Description>For µ.</Description>" in text


@given(values=arrays(np.float16, (2, 3, 4), elements=st.floats(0, 1, width=16)))
def test_float16_is_rounded_to_the_nearest(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("zarr") / "x.ome.zarr"
    write(path, values, [0], 3)
    found = np.asarray(zarr.open_group(str(path), mode="r")["0"])
    assert np.abs(found / 255 - values.astype(float)).max() <= 0.5 / 255 + 1e-6


def test_glass_takes_no_space(tmp_path: Path) -> None:
    write(tmp_path / "x.ome.zarr", np.zeros((2, 600, 600), np.uint8), [0], 600)
    files = {path.name for path in (tmp_path / "x.ome.zarr").rglob("*") if path.is_file()}
    assert files == {".zarray", ".zattrs", ".zgroup", "METADATA.ome.xml"}


def test_a_store_is_replaced_only_by_a_whole_one(values: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.ome.zarr"
    write(path, values, [0], 691)
    with (
        pytest.raises(ZeroDivisionError),
        probability_store(path, label_map(4, 4), CLASSES.channel_names) as store,
    ):
        store.write_rows(0, np.ones((2, 4, 4), np.uint8))
        raise ZeroDivisionError
    np.testing.assert_array_equal(np.asarray(zarr.open_group(str(path), mode="r")["0"]), values)
    write(path, values[:, :4, :4], [0], 4)
    assert np.asarray(zarr.open_group(str(path), mode="r")["0"]).shape == (2, 4, 4)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.ome.zarr"]


def test_places_that_cannot_be_written(values: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is no OME-Zarr folder"):
        write(tmp_path / "file", values, [0], 691)
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file" / "x.ome.zarr", values, [0], 691)
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputError, match="is no OME-Zarr folder"):
        write(tmp_path / "photos", values, [0], 691)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "photos"]

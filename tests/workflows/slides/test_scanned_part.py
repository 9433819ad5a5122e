"""A slide of which a part was scanned: every output says where that is, and none tells of its machine."""

import gzip
import json
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

import lpdseg
from drawn_scn import write_scn
from lpdseg import api

CORNER, SIZE = (400, 600), (1600, 2000)
ALL = "geojson,geojson.gz,ome-tiff,label-tiff,zarr,png,csv"


@pytest.fixture
def segmented(small_run: Path, tmp_path: Path) -> Callable[..., tuple[api.SlideResult, Path]]:
    """Segments a Leica slide with a pink and blue block of 160 x 120 px at (50, 40) of its scanned part."""
    pixels = np.full((190, 250, 3), 245, np.uint8)
    noise = np.random.default_rng(0).integers(-20, 20, (120, 160, 3))
    pixels[40:160, 50:210] = np.where(np.arange(160)[None, :, None] < 70, (230, 120, 170), (80, 70, 160)) + noise
    slide = write_scn(tmp_path / "s.scn", pixels, CORNER, SIZE)

    def run(**options: Any) -> tuple[api.SlideResult, Path]:
        wanted = {"to": ALL, "model_mpp": 0.5, "workers": 0, "device": "cpu", "gate": "none"} | options
        [result] = api.segment_slides(small_run, [slide], tmp_path / "out", **wanted)
        return result, tmp_path / "out"

    return run


def test_every_output_says_where_it_lies(segmented: Callable[..., tuple[api.SlideResult, Path]]) -> None:
    result, out = segmented()
    assert "was scanned from (400, 600) on; masks and probabilities begin at (0, 0)" in result.sentence
    collection = json.loads((out / "geojson" / "s.geojson").read_text("utf-8"))
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in collection["features"]]
    left, top, right, bottom = shapely.union_all(shapes).bounds
    assert np.abs(np.array([left, top, right, bottom]) - (50, 40, 210, 160)).max() <= 16
    labels = tifffile.imread(out / "labels" / "s.labels.tif")
    rows, columns = np.nonzero(labels != 255)
    assert labels.shape == SIZE[::-1]
    assert (columns.min() - CORNER[0], rows.min() - CORNER[1]) == pytest.approx((left, top))
    with tifffile.TiffFile(out / "masks" / "s.ome.tif") as file:
        ome = ElementTree.fromstring(file.ome_metadata or "")
    plane, text = ome.find(".//{*}Plane"), ome.findtext(".//{*}Image/{*}Description")
    assert plane is not None and float(plane.attrib["PositionX"]) == -200 and text is not None
    with tifffile.TiffFile(out / "labels" / "s.labels.tif") as file:
        plain = json.loads(file.pages[0].description)
    attributes = json.loads((out / "probabilities" / "s.ome.zarr" / ".zattrs").read_text("utf-8"))
    for told in (json.loads(text), plain, attributes["lpdseg"], collection["lpdseg"]):
        assert told["scanned"] == [*CORNER, 250, 190] and told["origin"] == list(CORNER)
        assert told["about"] == result.about
    moved = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][1]
    assert moved == {"type": "translation", "translation": [0, -300, -200]}
    with Image.open(out / "overlays" / "s.png") as picture:
        assert picture.width < 400 and picture.height > 190  # the scanned part, and words below
        assert (np.asarray(picture)[60:140, 70:180] < 240).any(2).mean() > 0.9


def test_another_origin_is_another_output(segmented: Callable[..., tuple[api.SlideResult, Path]]) -> None:
    segmented(to="ome-tiff,zarr,csv")
    result, out = segmented(to="ome-tiff,zarr,csv", from_bounds=False)
    assert result.status == "segmented"
    attributes = json.loads((out / "probabilities" / "s.ome.zarr" / ".zattrs").read_text("utf-8"))
    assert attributes["lpdseg"]["origin"] == [0, 0]
    assert all(len(data["coordinateTransformations"]) == 1 for data in attributes["multiscales"][0]["datasets"])


def test_every_output_says_what_it_is_for(segmented: Callable[..., tuple[api.SlideResult, Path]]) -> None:
    result, out = segmented(to="csv")
    assert result.about.startswith("For research only, not for diagnosis.")
    assert "with the classes pink, blue." in result.about
    for table in ("areas/s.csv", "summary.csv"):
        assert result.about in (out / table).read_text("utf-8")


def test_no_output_tells_of_the_machine(
    segmented: Callable[..., tuple[api.SlideResult, Path]], small_run: Path, tmp_path: Path
) -> None:
    result, _ = segmented()
    node = f"{uuid.getnode():012x}"
    told = {
        str(tmp_path), str(small_run), str(Path.home()) + os.sep, str(Path(lpdseg.__file__).parent), os.__file__,
        str(Path(np.__file__).parent), node, ":".join(node[at : at + 2] for at in range(0, 12, 2)),
        *(name for name in (socket.gethostname(), os.environ.get("USER", "")) if len(name) > 5),
    }  # fmt: skip
    for output in result.outputs.values():
        for path in [one for one in output.rglob("*") if one.is_file()] if output.is_dir() else [output]:
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert [one for one in told if one.encode() in content] == [], path

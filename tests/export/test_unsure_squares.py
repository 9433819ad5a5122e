"""Squares to look at first: the most unsure ones of a slide, in their order, at the right place."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from lpdseg.export.unsure_squares import unsure_squares, write_unsure_squares
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), background=2)


def grey_map(values: np.ndarray) -> LabelMap:
    return LabelMap(values, (4.0, 2.0), (1.0, 0.5), (values.shape[1] * 4, values.shape[0] * 2), CLASSES)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 10**6))
def test_squares_are_those_of_a_plain_loop(width: int, height: int, most: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    wanted = []
    for y in range(0, height, 12):  # 6 microns
        for x in range(0, width, 6):
            part = values[y : y + 12, x : x + 6]
            wanted.append((-int((part > 204).sum()), y, x, part.shape))
    wanted = [one for one in sorted(wanted) if one[0]][:most]
    found = unsure_squares(grey_map(values), 204.0, 6.0, most)
    assert [(-one.unsure, one.y, one.x, (one.height, one.width)) for one in found] == wanted


def test_the_worst_is_the_first_annotation_at_its_place_in_level_0(tmp_path: Path) -> None:
    values = np.zeros((600, 300), np.uint8)
    values[256:270, 0:10] = 205
    values[300:330, 130:150] = 255
    path = tmp_path / "x.geojson"
    write_unsure_squares(replace(grey_map(values), origin=(100.0, 10.0), about="for research"), path, 204.0)
    told = json.loads(path.read_text("utf-8"))
    first, second = told["features"]
    assert told["lpdseg"]["about"] == "for research" and first["id"] != second["id"]
    assert (first["properties"]["name"], second["properties"]["name"]) == ("unsure 1", "unsure 2")
    assert Polygon(first["geometry"]["coordinates"][0]).bounds == (512 - 100, 512 - 10, 1024 - 100, 1024 - 10)
    assert first["properties"]["measurements"] == {"Unsure mm^2": 0.0003, "Unsure %": round(60000 / (128 * 256), 2)}
    before = path.read_bytes()
    write_unsure_squares(replace(grey_map(values), origin=(100.0, 10.0), about="for research"), path, 204.0)
    assert path.read_bytes() == before


def test_a_slide_that_is_sure_everywhere_has_none(tmp_path: Path) -> None:
    write_unsure_squares(grey_map(np.zeros((5, 5), np.uint8)), tmp_path / "x.geojson", 204.0)
    assert json.loads((tmp_path / "x.geojson").read_text())["features"] == []

"""Corrections as a viewer writes them and as QuPath exports them, and every fault in one sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lpdseg.data.corrections import (
    STROKE,
    Corrections,
    Drawn,
    parse_corrections,
    read_corrections,
    write_corrections,
)
from lpdseg.errors import DataError

NAMES = ("TUM", "STR", "Dr\u00fcse")
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}
BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
LINE = {"type": "LineString", "coordinates": [[0, 5], [10, 5]]}


def feature(geometry: Any = SQUARE, name: Any = "TUM", image: Any = "train/a.png", **more: Any) -> dict[str, Any]:
    properties = {"classification": {"name": name}, **({} if image is None else {"image": image}), **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def labels(told: Any, image: str = "train/a.png") -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": {"image": image, "labels": told}}


def parsed(*features: Any) -> Corrections:
    return parse_corrections({"type": "FeatureCollection", "features": list(features)}, NAMES, "x.geojson")


def test_areas_strokes_and_labels() -> None:
    found = parsed(feature(), feature(LINE, "STR", width=4), feature(LINE), labels({"TUM": 1, "STR": False}))
    area, stroke, plain = found.drawn
    assert (area.image, area.name, area.width, area.area.area) == ("train/a.png", "TUM", None, 100)
    assert (stroke.name, stroke.width, plain.width) == ("STR", 4, STROKE)
    assert stroke.area.area == pytest.approx(10 * 4 + np.pi * 4, rel=0.01)
    assert found.labels == {"train/a.png": {"TUM": 1, "STR": 0}}
    assert found.notes == ()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    holes = shapely.Polygon([(0, 0), (9.25, 0), (9, 9)], [[(5, 2), (6, 2), (6, 3)]])
    lines = shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 5)]])
    drawn = (
        Drawn("train/<b>&amp;.png", "TUM", shapely.MultiPolygon([holes])),
        Drawn("a.png", NAMES[2], lines, 3.5),
    )
    before = Corrections("here", drawn, {"a.png": {"STR": 0, "TUM": 1}})
    path = tmp_path / "new" / "corrections.geojson"
    write_corrections(path, before)
    after = read_corrections(path, NAMES)
    assert [(one.image, one.name, one.width) for one in after.drawn] == [
        (one.image, one.name, one.width) for one in drawn
    ]
    assert all(a.shape.equals(b.shape) for a, b in zip(after.drawn, drawn, strict=True))
    assert after.labels == before.labels
    write_corrections(path, after)
    assert read_corrections(path, NAMES).sha256 == after.sha256 != Corrections("x").sha256


def test_none_at_all_is_a_file_too(tmp_path: Path) -> None:
    write_corrections(tmp_path / "x.geojson", Corrections("x"))
    assert read_corrections(tmp_path / "x.geojson", NAMES).drawn == ()


def test_files_of_qupath_are_called_after_their_image(tmp_path: Path) -> None:
    text = json.dumps([feature(image=None)]).encode()
    (tmp_path / "a b.geojson").write_bytes(text)
    (tmp_path / "case.1.geojson.gz").write_bytes(gzip.compress(text))
    (tmp_path / ".hidden.geojson").write_bytes(b"{")
    (tmp_path / "notes.txt").write_bytes(b"{")
    assert [one.image for one in read_corrections(tmp_path, NAMES).drawn] == ["a b", "case.1"]
    assert read_corrections(tmp_path / "a b.geojson", NAMES).drawn[0].image == "a b"


def test_classes_are_found_however_they_are_written() -> None:
    derived = {"names": ["TUM", "Positive"]}
    found = parsed(
        feature(name="Dru\u0308se"), {**feature(), "properties": {"image": "a", "classification": derived}}
    )
    assert [one.name for one in found.drawn] == [NAMES[2], "TUM"]


def test_what_is_no_correction_is_passed_over_and_counted() -> None:
    point = {"type": "Point", "coordinates": [1, 1]}
    other_plane = {**SQUARE, "plane": {"z": 1}}
    found = parsed(
        feature(point), feature(name=""), feature(name="Ignore*"), feature(name="Region*"), feature(other_plane),
        feature(objectType="cell"), feature(None),
    )  # fmt: skip
    assert found.drawn == ()
    told = " ".join(found.notes)
    for what in ("points and lines (2)", "without a class (1)", "ignored classes (1)", "Region* (1)", "planes"):
        assert what in told


def test_a_crossed_outline_is_repaired() -> None:
    (one,) = parsed(feature(BOW_TIE)).drawn
    assert one.shape.is_valid
    assert one.shape.area == 50


def test_a_collection_has_areas_and_lines() -> None:
    both = {"type": "GeometryCollection", "geometries": [SQUARE, LINE]}
    assert [one.width for one in parsed(feature(both, width=2)).drawn] == [None, 2]


def far(x: float) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": [[0, 0], [x, 0]]}


def nested(depth: int) -> Any:
    return SQUARE if depth == 0 else {"type": "GeometryCollection", "geometries": [nested(depth - 1)]}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (feature(name="GLA"), "has the class 'GLA', but the classes are TUM, STR"),
        (feature(image=None), "does not tell which image"),
        (feature(image=3), "does not tell which image"),
        (feature(image="x" * 5000), "does not tell which image"),
        (feature(far(float("nan"))), "is not finite"),
        (feature(far(10**400)), "cannot be read"),
        (feature(far(1e8)), "over 10,000,000 pixels from the corner"),
        (feature({"type": "LineString", "coordinates": [[0, 0]]}), "cannot be read"),
        (feature({"type": "LineString"}), "cannot be read"),
        (feature(LINE, width=0), "has the width 0; a stroke is 1 to 1000 pixels wide"),
        (feature(LINE, width=float("nan")), "has the width nan"),
        (feature(LINE, width="8"), "has the width '8'"),
        (feature(LINE, width=True), "has the width True"),
        (feature({"type": "Circle"}), "type 'Circle'"),
        (feature(nested(30)), "collections within collections"),
        (labels({"TUM": 2}), "gives TUM the label 2; a label is 0 or 1"),
        (labels({"TUM": "1"}), "gives TUM the label '1'"),
        (labels({"x" * 100: 1}), "labels the class 'xxx.*…, but the classes are TUM"),
        (labels({}), "has labels that cannot be read"),
        (labels([1]), "has labels that cannot be read"),
        (3, "is no GeoJSON feature"),
    ],
)
def test_faults_are_told_in_a_sentence(wrong: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"^x\.geojson, feature 2 .*{told}"):
        parsed(feature(), wrong)


def test_what_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps([feature()] * 5000).encode()))
    monkeypatch.setattr("lpdseg.data.corrections._MOST_FEATURES", 4999)
    with pytest.raises(DataError, match="more than 4,999 features"):
        read_corrections(path, NAMES)
    monkeypatch.setattr("lpdseg.data.corrections._MOST_BYTES", 100_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="is too large"):
        read_corrections(path, NAMES)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_corrections(tmp_path / "none.geojson", NAMES)
    with pytest.raises(DataError, match="holds no corrections"):
        read_corrections(tmp_path, NAMES)
    (tmp_path / "x.geojson").write_bytes(b"[" * 100_000)
    with pytest.raises(DataError, match="is no JSON"):
        read_corrections(tmp_path / "x.geojson", NAMES)

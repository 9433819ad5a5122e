"""Regions as QuPath exports them, in all its ways, and what is wrong with a file in one sentence."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from lpdseg.data.regions import read_regions
from lpdseg.errors import DataError

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}
BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
TUMOUR = {"name": "tumour", "color": [200, 0, 0]}


def feature(geometry: Any = SQUARE, classification: Any = TUMOUR) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "7b5f0e1c-3b1c-4f0a-9c3e-0d8f4f9d2a10",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": classification},
    }


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def write(folder: Path, value: Any, name: str = "x.geojson") -> Path:
    path = folder / name
    text = json.dumps(value).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["x.geojson", "x.json", "x.geojson.gz"])
@pytest.mark.parametrize("value", [collection(feature()), [feature()], feature(), [collection(feature())]])
def test_collections_lists_and_single_features(value: Any, name: str, tmp_path: Path) -> None:
    file = read_regions(write(tmp_path, value, name))
    (region,) = file.regions
    assert (region.name, region.colour, region.geometry.area) == ("tumour", (200, 0, 0), 100)
    assert list(file.notes()) == []


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor", (200, 0, 0)),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive", (1, 2, 3)),
        ({"name": "Tumor", "color": [1, 2, 3, 128]}, "Tumor", (1, 2, 3)),
        ({"name": "Tumor", "color": "red"}, "Tumor", None),
        ("Tumor", "Tumor", None),
        ("Tumor ", "Tumor", None),
        ({"names": [" Tumor", "Positive "]}, "Tumor: Positive", None),
        ({"name": "Positive", "parentClass": {"name": "Tumor", "colorRGB": 1}}, "Tumor: Positive", None),
    ],
)
def test_classes_of_all_versions(classification: Any, name: str, colour: Any, tmp_path: Path) -> None:
    (region,) = read_regions(write(tmp_path, feature(classification=classification))).regions
    assert (region.name, region.colour) == (name, colour)


def test_what_has_no_class_or_no_area_is_counted(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    plain = {"type": "Feature", "geometry": SQUARE, "properties": None}
    value = collection(
        feature(), feature(classification=None), feature(classification={}), plain, feature(point), feature(None)
    )
    file = read_regions(write(tmp_path, value))
    assert len(file.regions) == 1
    assert file.passed_over == {"features without a class": 3, "points and lines": 2}


def test_a_crossed_outline_is_repaired(tmp_path: Path) -> None:
    (region,) = read_regions(write(tmp_path, feature(BOW_TIE))).regions
    assert region.geometry.is_valid and region.geometry.area == pytest.approx(50)


def test_holes_beyond_the_outline_are_no_tissue(tmp_path: Path) -> None:
    rings = [ring for x, side in ((0, 10), (20, 5), (8, 4)) for ring in placed(x, side)["coordinates"]]
    (region,) = read_regions(write(tmp_path, feature({"type": "Polygon", "coordinates": rings}))).regions
    assert region.geometry.area == pytest.approx(100 - 8) and region.geometry.bounds == (0, 0, 10, 10)


@given(
    holes=st.lists(st.integers(0, 8), unique=True),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_shapes_come_back_and_move(
    holes: list[int], shift: tuple[float, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    boxes = [
        shapely.box(1 + 3 * (hole % 3), 1 + 3 * (hole // 3), 2 + 3 * (hole % 3), 2.5 + 3 * (hole // 3))
        for hole in holes
    ]
    shape = shapely.box(0, 0, 12, 12) - shapely.union_all(boxes)
    file = read_regions(write(tmp_path_factory.mktemp("regions"), feature(mapping(shape))))
    assert file.regions[0].geometry.equals(shape)
    moved = file.moved(*shift).regions[0].geometry
    assert moved.area == pytest.approx(shape.area)
    assert moved.bounds == pytest.approx((shift[0], shift[1], 12 + shift[0], 12 + shift[1]))


OTHER = {"name": "stroma"}


def placed(x: float, side: float = 10) -> dict[str, Any]:
    return mapping(shapely.box(x, 0, x + side, side))


@pytest.mark.parametrize(
    "coordinates",
    [[], [[[10, 10]] * 4], [[[0, 0], [5, 5], [9, 9], [0, 0]]], [[[0, 0], [1, 1]]], [[]]],
)
def test_outlines_without_area_are_passed_over(coordinates: Any, tmp_path: Path) -> None:
    bad = feature({"type": "Polygon", "coordinates": coordinates})
    file = read_regions(write(tmp_path, collection(feature(), bad)))
    assert len(file.regions) == 1
    assert file.passed_over == {"outlines that enclose no area": 1}
    assert list(file.notes()) == [f"{tmp_path / 'x.geojson'}: passed over outlines that enclose no area (1)"]


@pytest.mark.parametrize("name", ["Ignore*", "Artefact*", "Ignore*: Positive"])
def test_areas_of_ignored_classes_are_cut_out(name: str, tmp_path: Path) -> None:
    inside = feature(placed(2, 4), OTHER)
    file = read_regions(write(tmp_path, collection(feature(), inside, feature(placed(2, 4), {"name": name}))))
    (region,) = file.regions
    assert region.name == "tumour" and region.geometry.area == pytest.approx(100 - 16)
    assert file.cut_out == {name: 1} and len(list(file.notes())) == 2


@pytest.mark.parametrize("frame", ["Region*", "Region*: left"])
def test_a_frame_is_no_tissue_and_cuts_nothing_out(frame: str, tmp_path: Path) -> None:
    value = collection(feature(placed(0, 50), {"name": frame}), feature())
    (region,) = read_regions(write(tmp_path, value), ["tumour"]).regions
    assert region.geometry.area == 100
    named = read_regions(write(tmp_path, value), ["tumour", frame])
    assert [one.name for one in named.regions] == [frame, "tumour"]  # whoever asks has named it


@pytest.mark.parametrize("kind", ["cell", "detection", "tile", "tmaCore", "tma_core"])
@pytest.mark.parametrize("key", ["objectType", "object_type"])
def test_only_annotations_are_regions(kind: str, key: str, tmp_path: Path) -> None:
    other = feature(classification={"name": "Immune"})
    del other["properties"]["objectType"]
    other["properties"][key] = kind
    old = {**feature(classification={"name": "Immune"}), "id": "PathCellObject"}
    del old["properties"]["objectType"]
    file = read_regions(write(tmp_path, collection(feature(), other, old)), ["tumour"])
    assert len(file.regions) == 1
    assert file.passed_over == {"cells, detections and other objects that are no annotations": 2}


@pytest.mark.parametrize(("plane", "count"), [({"c": -1, "z": 0, "t": 0}, 2), ({"z": 3}, 1), ({"z": 0, "t": 1}, 1)])
def test_other_planes_are_passed_over(plane: Any, count: int, tmp_path: Path) -> None:
    file = read_regions(write(tmp_path, collection(feature(), feature(SQUARE | {"plane": plane}))))
    assert len(file.regions) == count and sum(file.passed_over.values()) == 2 - count


@pytest.mark.parametrize("key", ["childObjects", "children"])
@pytest.mark.parametrize("where", ["properties", "feature"])
def test_objects_within_others_are_read(key: str, where: str, tmp_path: Path) -> None:
    core = feature(placed(0, 90), None)
    core["properties"]["objectType"] = "tmaCore"
    parent = feature(placed(0, 50), {"name": "Tissue"})
    (parent["properties"] if where == "properties" else parent)[key] = [feature(), feature(placed(20), OTHER)]
    (core["properties"] if where == "properties" else core)[key] = [parent]
    file = read_regions(write(tmp_path, core))
    assert [one.name for one in file.regions] == ["Tissue", "tumour", "stroma"]
    parent["properties"]["classification"] = {"names": 3}
    with pytest.raises(DataError, match=r"feature 1, object 1 within it has the classification"):
        read_regions(write(tmp_path, core))


def test_of_a_collection_the_polygons_count(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [5, 5]}
    nested = {"type": "GeometryCollection", "geometries": [placed(20), placed(25)]}
    value = feature({"type": "GeometryCollection", "geometries": [SQUARE, point, nested]})
    file = read_regions(write(tmp_path, value))
    assert file.regions[0].geometry.area == pytest.approx(250)
    assert file.passed_over == {"points and lines": 1}


def test_derived_classes_count_as_what_they_are_derived_from(tmp_path: Path) -> None:
    path = write(tmp_path, collection(feature(classification={"names": ["tumour", "Positive"]}), feature()))
    file = read_regions(path, ["tumour", "stroma"])
    assert [one.name for one in file.regions] == ["tumour", "tumour"]
    assert list(file.notes()) == [f"{path}: the derived class tumour: Positive counts as tumour (1)"]
    file = read_regions(path)
    assert [one.name for one in file.regions] == ["tumour: Positive", "tumour"]
    assert "is a class of its own" in next(file.notes())
    assert not list(read_regions(path, ["tumour", "tumour: Positive"]).notes())
    with pytest.raises(DataError, match="has the class 'tumour: Positive', but the classes are stroma"):
        read_regions(path, ["stroma"])


@pytest.mark.parametrize("name", ["x.zip", "x.geojson.zip"])
def test_zip(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.geojson", json.dumps(collection(feature())))
        archive.writestr("sub/b.json", json.dumps([feature(placed(20), OTHER)]))
        archive.writestr("__MACOSX/._a.geojson", b"\0\1")
        archive.writestr("readme.txt", "")
    assert [one.name for one in read_regions(path).regions] == ["tumour", "stroma"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="is damaged or no zip file"):
        read_regions(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(DataError, match=r"holds no \.geojson"):
        read_regions(path)


def test_a_zip_whose_names_of_files_are_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ö.json", "[]")
    path.write_bytes(path.read_bytes().replace("ö".encode(), b"\xb2\xb2"))
    with pytest.raises(DataError, match="is damaged or no zip file"):
        read_regions(path)


def test_a_class_that_is_none_of_those_named(tmp_path: Path) -> None:
    path = write(tmp_path, collection(feature(), feature(classification={"name": "Tumor"})))
    assert len(read_regions(path).regions) == 2
    with pytest.raises(
        DataError, match=r"x\.geojson, feature 2 has the class 'Tumor', but the classes are tumour, s"
    ):
        read_regions(path, ("tumour", "stroma"))


@pytest.mark.parametrize(
    ("geometry", "told"),
    [
        ({"type": "Polygon", "coordinates": [[[0], [1], [2], [0]]]}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 2], [0, 0]]]}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [1, 2]}, "cannot be read"),
        ({"type": "Polygon"}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [1, 1], [0, 0]]]}, "is not finite"),
        ({"type": "Circle", "coordinates": [0, 0, 5]}, "type 'Circle'"),
        ({"type": "GeometryCollection", "geometries": [{"type": "Circle"}]}, "type 'Circle'"),
        ([1, 2], "type None"),
        ({"type": "Polygon", "coordinates": [[[10**400, 0], [1, 0], [1, 1]]]}, "cannot be read"),
    ],
)
def test_outlines_that_cannot_be_used(geometry: Any, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, collection(feature(), feature(geometry)))
    with pytest.raises(DataError, match=rf"x\.geojson, feature 2 \(tumour\) has .*{told}"):
        read_regions(path)


@pytest.mark.parametrize("value", [{"type": "Topology"}, 3, {"type": "FeatureCollection", "features": 3}])
def test_json_of_another_kind(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no GeoJSON FeatureCollection"):
        read_regions(write(tmp_path, value))


@pytest.mark.parametrize("value", [[3], [{"type": "Feature", "properties": 3}]])
def test_features_that_are_none(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="feature 1 is no GeoJSON feature"):
        read_regions(write(tmp_path, value))


@pytest.mark.parametrize("classification", [3, {"names": "Tumor"}, {"name": 3}, {"names": [None]}])
def test_classifications_without_a_name(classification: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no name"):
        read_regions(write(tmp_path, feature(classification=classification)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = write(tmp_path, collection(*[feature()] * 50), "x.geojson.gz")
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(DataError, match="is truncated or no gzip file"):
        read_regions(whole)
    whole.write_bytes(b"{}")
    with pytest.raises(DataError, match="is truncated or no gzip file"):
        read_regions(whole)
    (tmp_path / "x.geojson").write_bytes(b'{"type": "FeatureColl')
    with pytest.raises(DataError, match="is no JSON"):
        read_regions(tmp_path / "x.geojson")
    (tmp_path / "x.geojson").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no JSON"):
        read_regions(tmp_path / "x.geojson")
    with pytest.raises(DataError, match="does not exist"):
        read_regions(tmp_path / "none.geojson")
    with pytest.raises(DataError, match="cannot be read"):
        read_regions(tmp_path)


def test_a_class_is_one_however_its_letters_are_written(tmp_path: Path) -> None:
    composed, decomposed = "Dr\u00fcse", "Dru\u0308se"
    path = write(tmp_path, collection(*(feature(classification=name) for name in (composed, decomposed))))
    assert {one.name for one in read_regions(path).regions} == {composed}
    for asked in (composed, decomposed):
        assert {one.name for one in read_regions(path, [asked]).regions} == {asked}


def test_a_small_packed_file_of_many_values_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(b"[" + b"[]," * (1 << 23) + b"[]]"))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="more than 16,777,216 values; split it"):
        read_regions(path)

"""Regions as GeoJSON: drawn again they are the mask, and other programs can read them."""

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from lpdseg.data.regions import read_regions
from lpdseg.errors import OutputError, SettingsError
from lpdseg.export.contacts import with_contacts
from lpdseg.export.geojson import write_geojson
from lpdseg.export.tracing import trace_regions
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=11), elements=st.integers(0, 2))
SCALES = st.sampled_from([(1.0, 1.0), (2.0, 2.0), (1.9987, 3.3331)])


def label_map(
    mask: Any, scale: tuple[float, float] = (1.0, 1.0), classes: TissueClasses = CLASSES, **more: Any
) -> LabelMap:
    height, width = mask.shape
    size = (round(width * scale[0]), round(height * scale[1]))
    return LabelMap(mask, scale, (scale[0] / 4, scale[1] / 4), size, classes, **more)


def read(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = collection["features"]
    return features


def draw(
    features: list[dict[str, Any]], shape: tuple[int, int], scale: tuple[float, float], offset: tuple[float, float]
) -> np.ndarray:
    shapes = [
        (feature["geometry"], CLASSES.names.index(feature["properties"]["classification"]["name"]))
        for feature in features
    ]
    if not shapes:
        return np.full(shape, len(CLASSES), np.uint8)
    transform = Affine(scale[0], 0, -offset[0], 0, scale[1], -offset[1])
    return np.asarray(rasterize(shapes, shape, fill=len(CLASSES), transform=transform, dtype="uint8"))


@given(mask=MASKS, tile=st.integers(1, 6), scale=SCALES, offset=st.sampled_from([(0.0, 0.0), (10.0, 3.5)]))
def test_drawn_again_the_outlines_are_the_mask(
    mask: np.ndarray,
    tile: int,
    scale: tuple[float, float],
    offset: tuple[float, float],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("geojson") / "x.geojson"
    summary = write_geojson(label_map(mask, scale, origin=offset), path, tile=tile)
    features = read(path)
    np.testing.assert_array_equal(draw(features, mask.shape, scale, offset), mask)
    counts = {name: ndimage.label(mask == c)[1] for c, name in enumerate(CLASSES.names)}
    assert summary.regions == counts and summary.features == len(features) == sum(counts.values())
    assert (summary.left_out, summary.left_out_mm2, summary.changed) == (0, 0, 0)
    for feature in features:
        polygon = shapely.geometry.shape(feature["geometry"])
        assert polygon.geom_type == "Polygon" and polygon.is_valid
        assert polygon.exterior.is_ccw and not any(ring.is_ccw for ring in polygon.interiors)
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
        area = polygon.area * 0.25**2 / 1e6
        assert feature["properties"]["measurements"] == {"Area mm^2": pytest.approx(area, rel=1e-5)}


@given(mask=MASKS, tile=st.integers(1, 11), tolerance=st.sampled_from([0.8, 1.5, 4.0]))
def test_simplified_regions_keep_their_borders_and_the_change_is_told(
    mask: np.ndarray, tile: int, tolerance: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("geojson")
    three = TissueClasses(("tumour", "stroma", "rest"))
    # Every pixel has a class, so that a gap anywhere shows.
    write_geojson(label_map(mask, classes=three), folder / "all.geojson", simplify_um=tolerance / 4, tile=tile)
    polygons = [shapely.geometry.shape(feature["geometry"]) for feature in read(folder / "all.geojson")]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(mask.size)
    assert shapely.union_all(polygons).area == pytest.approx(mask.size)
    summary = write_geojson(label_map(mask), folder / "x.geojson", simplify_um=tolerance / 4, tile=tile)
    drawn = draw(read(folder / "x.geojson"), mask.shape, (1, 1), (0, 0))
    # Where an outline runs through a pixel's centre, either side may count it.
    through = _near_centres(read(folder / "x.geojson"), mask.shape)
    assert abs(summary.changed * mask.size - np.count_nonzero(drawn != mask)) <= through


def _near_centres(features: list[dict[str, Any]], shape: tuple[int, int]) -> int:
    lines = shapely.union_all([shapely.geometry.shape(feature["geometry"]).boundary for feature in features])
    y, x = np.indices(shape) + 0.5
    return int(np.count_nonzero(shapely.distance(shapely.points(x, y), lines) < 1e-9))


def test_a_disc_is_simplified_to_fewer_points_and_nearly_the_same_area(tmp_path: Path) -> None:
    y, x = np.indices((200, 200)) - 99.5
    mask = np.where(x**2 + y**2 < 80**2, 0, 2).astype(np.uint8)
    for um, most in ((0.0, 1000), (0.5, 80)):
        summary = write_geojson(label_map(mask), tmp_path / "x.geojson", simplify_um=um, tile=64)
        (feature,) = read(tmp_path / "x.geojson")
        assert len(feature["geometry"]["coordinates"][0]) < most
        assert shapely.geometry.shape(feature["geometry"]).area == pytest.approx((mask == 0).sum(), rel=0.01)
        assert summary.changed < 0.01


def test_regions_are_given_as_soon_as_they_are_whole_and_the_mask_is_read_in_tiles() -> None:
    class Labels:
        shape = (40, 30)
        rows = 0

        def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
            y, x = place
            assert y.stop - y.start <= 8 and x.stop - x.start <= 8
            self.rows = max(self.rows, y.stop)
            mask = np.full(self.shape, 2, np.uint8)
            mask[2:4, 5:20] = 0
            mask[30:38, 5:20] = 1
            return mask[place]

    labels = Labels()
    regions = trace_regions(label_map(labels), tile=8)
    first = next(regions)
    assert (first.index, first.pixels, first.polygon.bounds) == (0, 30, (5, 2, 20, 4))
    assert labels.rows == 8
    assert [region.index for region in regions] == [1]


def test_properties_are_what_qupath_reads(tmp_path: Path) -> None:
    mask = np.array([[0, 2], [2, 2]], np.uint8)
    write_geojson(label_map(mask), tmp_path / "x.geojson")
    (feature,) = read(tmp_path / "x.geojson")
    assert feature["type"] == "Feature"
    assert feature["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "tumour", "color": [255, 0, 0]},
        "isLocked": False,
        "measurements": {"Area mm^2": 0.25**2 / 1e6},
        "metadata": {"lpdseg": "region"},
    }


def test_a_region_has_one_identifier_whenever_it_is_written(tmp_path: Path) -> None:
    mask = np.array([[0, 2, 1], [2, 0, 1]], np.uint8)

    def identifiers(labels: np.ndarray, slide: str = "a") -> list[str]:
        write_geojson(label_map(labels, slide_id=slide), tmp_path / "x.geojson")
        return [feature["id"] for feature in read(tmp_path / "x.geojson")]

    first = identifiers(mask)
    assert len({uuid.UUID(one).version for one in first}) == 1 and len(set(first)) == 3
    assert identifiers(mask) == first and not set(identifiers(mask, "b")) & set(first)
    changed = mask.copy()
    changed[0, 0] = 1
    assert len(set(identifiers(changed)) & set(first)) == 2  # the others are what they were


def test_the_file_says_what_its_model_was_trained_on(tmp_path: Path) -> None:
    write_geojson(label_map(np.zeros((2, 2), np.uint8), about="For µ.", origin=(3.0, 4.0)), tmp_path / "x.geojson")
    told = json.loads((tmp_path / "x.geojson").read_text("utf-8"))["lpdseg"]
    assert told["about"] == "For µ." and told["origin"] == [3, 4]


@given(
    mask=MASKS,
    scale=st.tuples(st.floats(0.3, 40), st.floats(0.3, 40)),
    origin=st.sampled_from([(0.0, 0.0), (1000.0, 1400.0), (123457.0, 98765.0)]),
    tolerance=st.sampled_from([0.8, 1.5, 4.0]),
)
def test_simplified_regions_are_valid_at_any_scale(
    mask: np.ndarray,
    scale: tuple[float, float],
    origin: tuple[float, float],
    tolerance: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    large = np.kron(mask, np.ones((3, 3), np.uint8))
    path = tmp_path_factory.mktemp("geojson") / "x.geojson"
    um = tolerance * (scale[0] * scale[1]) ** 0.5 / 4
    write_geojson(label_map(large, scale, origin=origin), path, simplify_um=um)
    for feature in read(path):
        polygon = shapely.geometry.shape(feature["geometry"])
        assert polygon.geom_type == "Polygon" and polygon.is_valid, shapely.is_valid_reason(polygon)


@given(
    scale=st.tuples(st.floats(0.3, 40), st.floats(0.3, 40)),
    corners=st.dictionaries(st.integers(1, 6), st.integers(1, 30), min_size=1, max_size=3),
)
def test_a_hole_that_touches_a_slanted_line_still_does_at_any_scale(
    scale: tuple[float, float], corners: dict[int, int]
) -> None:
    # The line from (0, 0) to (70, 30) passes through (7, 3), (14, 6), …; a hole hangs on each of some.
    holes = [[(7 * n, 3 * n), (7 * n, 3 * n + depth), (7 * n - 1, 3 * n + depth)] for n, depth in corners.items()]
    polygon = shapely.Polygon([(0, 0), (70, 30), (70, 90), (0, 90)], holes)
    assert polygon.is_valid
    touching = with_contacts(polygon)
    assert touching.equals(polygon) and len(touching.exterior.coords) == 5 + len(corners)
    scaled = shapely.transform(touching, lambda points: np.round(points * scale - (1000, 1400), 6))
    assert scaled.is_valid, shapely.is_valid_reason(scaled)


def test_without_the_points_of_contact_scaling_would_make_regions_invalid() -> None:
    polygon = shapely.Polygon([(0, 0), (70, 30), (70, 90), (0, 90)], [[(7, 3), (7, 20), (6, 20)]])
    scales = [(0.3 + number * 0.117, 1.9987) for number in range(50)]
    plain = [shapely.transform(polygon, lambda p, s=s: np.round(p * s, 6)).is_valid for s in scales]
    assert not all(plain)


def test_regions_that_were_written_can_be_read(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (9, 9), np.uint8).repeat(4, 0).repeat(4, 1)
    write_geojson(label_map(mask, (2.0, 2.0), origin=(10.0, 20.0)), tmp_path / "x.geojson.gz", tile=7)
    file = read_regions(tmp_path / "x.geojson.gz", CLASSES.names).moved(10.0, 20.0)
    for c, name in enumerate(CLASSES.names):
        shapes = [region.geometry for region in file.regions if region.name == name]
        drawn = rasterize(shapes, mask.shape, transform=Affine.scale(2.0), dtype="uint8")
        np.testing.assert_array_equal(drawn == 1, mask == c)
        assert {region.colour for region in file.regions if region.name == name} == {CLASSES.colours[c]}


def test_small_regions_are_left_out_and_counted(tmp_path: Path) -> None:
    mask = np.array([[0, 2, 1, 1], [2, 2, 1, 1]], np.uint8)
    summary = write_geojson(label_map(mask), tmp_path / "x.geojson", minimum_um2=4 / 16)
    assert summary.regions == {"tumour": 0, "stroma": 1}
    assert (summary.left_out, summary.left_out_mm2) == (1, pytest.approx(1 / 16e6))
    assert len(read(tmp_path / "x.geojson")) == 1


@pytest.mark.parametrize("simplify_um", [0.0, 1.0])
def test_a_mask_without_tissue_is_an_empty_collection(simplify_um: float, tmp_path: Path) -> None:
    mask = np.array([[2, 255], [2, 2]], np.uint8)
    summary = write_geojson(label_map(mask), tmp_path / "x.geojson", simplify_um=simplify_um)
    assert read(tmp_path / "x.geojson") == [] and summary.features == 0


def test_gz_holds_the_same_text_and_always_the_same_bytes(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    write_geojson(label_map(mask), tmp_path / "x.geojson")
    write_geojson(label_map(mask), tmp_path / "x.geojson.gz")
    write_geojson(label_map(mask), tmp_path / "y.json", compress=True)
    packed = (tmp_path / "x.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "x.geojson").read_bytes()
    assert (tmp_path / "y.json").read_bytes() == packed


@pytest.mark.parametrize("wrong", [{"simplify_um": -1.0}, {"minimum_um2": float("nan")}])
def test_figures_that_make_no_sense(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be 0 or more"):
        write_geojson(label_map(np.zeros((2, 2), np.uint8)), tmp_path / "x.geojson", **wrong)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_geojson(label_map(np.zeros((2, 2), np.uint8)), tmp_path / "file" / "x.geojson")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

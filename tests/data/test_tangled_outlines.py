"""Outlines that cross themselves: few times, as people draw, they are repaired; a small file can hold a million."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdseg.data.corrections import read_corrections
from lpdseg.data.crossings import Crossings
from lpdseg.data.qupath import area_of, lines_of
from lpdseg.data.regions import read_regions
from lpdseg.errors import DataError

TANGLED = [[i * 7919 % 6007 / 100, i * 104729 % 6011 / 100] for i in range(1500)]
"""Each of whose sides crosses a quarter of the others."""


def feature(kind: str, coordinates: object) -> dict[str, object]:
    named = {"image": "a.png", "classification": {"name": "A"}}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": named}


@pytest.mark.parametrize(
    ("kind", "coordinates"), [("Polygon", [TANGLED]), ("MultiPolygon", [[TANGLED]]), ("LineString", TANGLED)]
)
def test_one_that_crosses_itself_a_million_times_is_refused_at_once(
    kind: str, coordinates: object, tmp_path: Path
) -> None:
    """Repaired, such a polygon took 23 s and 900 MiB, and one of 3,000 points more than 3.5 GiB."""
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(feature(kind, coordinates)))
    with pytest.raises(DataError, match=r"feature 1 has an outline that cannot be read .it crosses itself"):
        read_corrections(path, ["A"])


def test_a_long_outline_that_crosses_itself_a_few_times_is_repaired() -> None:
    turn = np.linspace(0, 2 * np.pi, 20_000)
    eight = np.stack([500 + 400 * np.sin(turn), 500 + 400 * np.sin(2 * turn)], 1)
    area, _ = area_of({"type": "Polygon", "coordinates": [eight.tolist()]}, "here", Crossings())
    assert area.is_valid and area.area == pytest.approx(4 / 3 * 2 * 400**2, rel=0.01)
    assert lines_of({"type": "LineString", "coordinates": eight.tolist()}, "here", Crossings()).length > 2000


def comb(upright: bool, teeth: int = 400) -> list[list[int]]:
    """A valid outline; two of them, across one another, cross some half a million times."""
    points = [
        [x, y]
        for n in range(teeth)
        for x, y in ((2 * n, 0), (2 * n, 2 * teeth), (2 * n + 1, 2 * teeth), (2 * n + 1, 0))
    ]
    points += [[2 * teeth, -1], [0, -1], [0, 0]]
    return points if upright else [point[::-1] for point in points]


@pytest.mark.parametrize(
    "features",
    [
        [("A", "MultiPolygon", [[comb(True)], [comb(False)]])],
        [("A", "Polygon", [comb(True), comb(False)])],
        [("A", "Polygon", [comb(True)]), ("A", "Polygon", [comb(False)])],
        [("A", "Polygon", [comb(True)]), ("Ignore*", "Polygon", [comb(False)])],
    ],
    ids=["parts", "hole", "regions", "ignored"],
)
def test_outlines_that_cross_one_another_so_are_refused_at_once(
    features: list[tuple[str, str, object]], tmp_path: Path
) -> None:
    """To join two with 500 teeth took 10 s and 1.3 GiB."""
    path = tmp_path / "a.geojson"
    told = [
        {**feature(kind, drawn), "properties": {"classification": {"name": name}}} for name, kind, drawn in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": told}))
    with pytest.raises(DataError, match=r"cross(es)? .* too many times"):
        read_regions(path, ["A"])


def test_many_small_tangles_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdseg.data.crossings._MOST_OF_FILE", 200_000)
    path, tangle = tmp_path / "a.geojson", feature("Polygon", [TANGLED[:300]])
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [tangle] * 2}))
    assert len(read_corrections(path, ["A"]).drawn) == 2
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [tangle] * 20}))
    with pytest.raises(DataError, match="too many times"):
        read_corrections(path, ["A"])


def test_what_people_and_programs_draw_is_read(tmp_path: Path) -> None:
    squares = [
        feature("Polygon", [[[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]])
        for x in range(100)
        for y in range(100)
    ]  # each meets its eight neighbours
    stairs = [[n // 2 + n % 2, n // 2] for n in range(20_000)]
    rough = feature("Polygon", [[*stairs, [0, 10_000]]])
    scribble = feature("LineString", [[x, 7 * (x % 2)] for x in range(20_000)])
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [*squares, rough, rough, scribble]}))
    assert len(read_corrections(path, ["A"]).drawn) == 10_003
    assert sum(one.geometry.area for one in read_regions(path, ["A"]).regions) == pytest.approx(
        10_000 + 1e8, rel=0.01
    )


@pytest.mark.parametrize("many", [3, 40, 100])
@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_sides_are_counted_as_one_by_one(many: int, seed: int) -> None:
    lines = [np.random.default_rng(seed).integers(0, 30, (many, 2)).astype(float) for _ in range(2)]
    boxes = [(np.minimum(a, b), np.maximum(a, b)) for line in lines for a, b in pairwise(line)]
    expected = 0
    for low, high in boxes:
        met = sum(bool((low <= other_high).all() and (high >= other_low).all()) for other_low, other_high in boxes)
        expected += max(met - 8, 0)
    crossings, before = Crossings(), Crossings().left
    if expected > before:
        return
    crossings.count(lines, most=before)
    assert before - crossings.left == expected

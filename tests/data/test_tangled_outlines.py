"""Outlines that cross themselves: few times, as people draw, they are repaired; a small file can hold a million."""

import json
from pathlib import Path

import numpy as np
import pytest

from lpdseg.data.corrections import read_corrections
from lpdseg.data.qupath import area_of, lines_of
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
    area, _ = area_of({"type": "Polygon", "coordinates": [eight.tolist()]}, "here")
    assert area.is_valid and area.area == pytest.approx(4 / 3 * 2 * 400**2, rel=0.01)
    assert lines_of({"type": "LineString", "coordinates": eight.tolist()}, "here").length > 2000

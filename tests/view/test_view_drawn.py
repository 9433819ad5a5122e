"""What is drawn becomes a file of corrections, and nothing that was there is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lpdseg.checkpoint import read_state
from lpdseg.data.corrections import read_corrections
from lpdseg.tissue import TissueClasses
from lpdseg.view.items import open_items
from lpdseg.view.visit import Visit
from lpdseg.workflows.slides.options import SlideOptions

pytest.importorskip("shapely", reason="the extra slides is not installed")
NAMES = ("pink", "blue")
AREA = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [20, 1], [20, 20], [1, 1]]]},
    "properties": {"image": "train/t0_0[11].png", "classification": {"name": "blue"}},
}
STROKE = {
    "type": "Feature",
    "geometry": {"type": "LineString", "coordinates": [[1, 1], [9, 9]]},
    "properties": {"image": "train/t0_0[11].png", "classification": {"name": "pink"}, "width": 4},
}
LABELS = {"type": "Feature", "geometry": None, "properties": {"image": "x.png", "labels": {"pink": 1, "blue": 0}}}


@pytest.fixture
def with_file(prototype_run: Path, small_data: Path, tmp_path: Path, asking: Callable[..., TestClient]) -> Any:
    visits = []

    def build(path: Path = tmp_path / "corrections.geojson") -> TestClient:
        classes = TissueClasses.from_dict(read_state(prototype_run, "best")["classes"])
        opened = open_items(prototype_run, [small_data], classes, named="pink,blue")
        visits.append(Visit([prototype_run], opened, SlideOptions(device="cpu"), path))
        return asking(visits[-1])

    yield build
    for visit in visits:
        visit.close()


def test_areas_strokes_and_labels_are_saved_and_shown_again(with_file: Any, tmp_path: Path) -> None:
    client, path = with_file(), tmp_path / "corrections.geojson"
    assert client.get("/api/session").json()["corrections"] == {"features": [], "version": 0, "file": str(path)}
    answer = client.post("/api/corrections", json={"features": [AREA, STROKE, LABELS]})
    assert answer.status_code == 200, answer.text
    found = read_corrections(path, NAMES)
    assert [(one.name, one.width) for one in found.drawn] == [("blue", None), ("pink", 4.0)]
    assert found.drawn[0].area.area == pytest.approx(19 * 19 / 2)
    assert found.labels == {"x.png": {"pink": 1, "blue": 0}}
    again = with_file().get("/api/session").json()["corrections"]["features"]
    assert again == answer.json()["features"] and len(again) == 3
    client.post("/api/corrections", json={"features": []})
    assert not path.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "Feature", "geometry": None, "properties": {"image": "x", "labels": {"green": 1}}},
        AREA | {"properties": {"image": "x", "classification": {"name": "green"}}},
        AREA | {"properties": {"classification": {"name": "blue"}}},
        AREA | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1e9, 0], [1e9, 1e9], [0, 0]]]}},
        "no feature",
    ],
)
def test_what_is_no_correction_is_not_saved(wrong: Any, with_file: Any, tmp_path: Path) -> None:
    client, path = with_file(), tmp_path / "corrections.geojson"
    client.post("/api/corrections", json={"features": [AREA]})
    before = path.read_bytes()
    assert client.post("/api/corrections", json={"features": [AREA, wrong]}).status_code == 422
    assert path.read_bytes() == before


def test_what_else_is_in_a_file_is_not_lost(with_file: Any, tmp_path: Path) -> None:
    point = AREA | {"geometry": {"type": "Point", "coordinates": [1, 1]}}
    path = tmp_path / "mine.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [AREA, point]}))
    before, client = path.read_bytes(), with_file(path)
    answer = client.post("/api/corrections", json={"features": [AREA]})
    assert answer.status_code == 422 and "would be lost" in answer.json()["error"]
    assert path.read_bytes() == before


def test_a_file_that_somebody_else_changed_is_kept(with_file: Any, tmp_path: Path) -> None:
    client, path = with_file(), tmp_path / "corrections.geojson"
    path.write_text("theirs")
    assert client.post("/api/corrections", json={"features": [AREA]}).status_code == 422
    assert path.read_text() == "theirs"

"""Edits act at once, and are saved when somebody says so; the atlas shows training regions."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lpdseg import api
from lpdseg.data.patches import read_image
from lpdseg.segmenting.edits import read_edits
from lpdseg.training.regions import FILE

Opened = tuple[Any, TestClient, Path]


@pytest.fixture
def own_run(prototype_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prototype_run, tmp_path / "run"))


@pytest.fixture
def opened(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], own_run: Path, small_data: Path
) -> Opened:
    visit = visit_to(own_run, small_data)
    client = asking(visit)
    client.post("/api/fields", json={"image": 12, "box": [0, 0, 32, 32]})
    assert visit.wait(60)
    return visit, client, own_run


def shown(client: TestClient, layer: str = "mask") -> np.ndarray:
    answer = client.get(f"/layers/0/12/{layer}/5/0/0?hidden=0")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3] == 255


@pytest.mark.parametrize(
    "entries",
    [
        {"pink 1": {"move": "blue"}},
        {"blue 2": {"hide": True}, "pink 2": {"name": "rosy"}},
        {"pink 1": {"merge": "blue 1"}},
    ],
)
def test_masks_are_those_of_segment_under_the_same_edits(entries: Any, opened: Opened) -> None:
    visit, client, run = opened
    network = visit.runs[0].loaded.model
    network.read = lambda *_: pytest.fail("the network was asked again")
    answer = client.post("/api/edits", json={"entries": entries})
    assert answer.status_code == 200, answer.text
    assert answer.json()["changed"] and not (run / "edits.yaml").exists()
    assert visit.wait(60)
    del network.read
    found = shown(client)
    assert client.post("/api/edits", json={"save": True}).json()["changed"] is False
    assert {key: one.as_dict() for key, one in read_edits(run / "edits.yaml").entries.items()} == entries
    segmented = api.load(run, device="cpu", edits=run / "edits.yaml").segment(read_image(visit.items[12].path))
    assert (found == (segmented.mask == 1)).all()


def test_edits_are_taken_back(opened: Opened) -> None:
    visit, client, run = opened
    before = shown(client)
    client.post(
        "/api/edits", json={"entries": {"pink 1": {"move": "blue"}, "pink 2": {"move": "blue"}}, "save": True}
    )
    assert visit.wait(60) and shown(client).all() and not before.all()
    client.post("/api/edits", json={"entries": {}, "save": True})
    assert visit.wait(60)
    assert (shown(client) == before).all() and not (run / "edits.yaml").exists()


def test_edits_that_are_as_they_were_saved_need_no_saving(opened: Opened) -> None:
    _, client, run = opened

    def changed(entries: Any, *, save: bool = False) -> bool:
        answer = client.post("/api/edits", json={"entries": entries, "save": save}).json()
        return bool(answer["changed"])

    rosy = {"pink 1": {"name": "rosy"}}
    assert changed(rosy) and not changed({})
    assert not changed(rosy, save=True) and changed({}) and not changed(rosy)
    assert (run / "edits.yaml").exists()


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"pink 9": {"hide": True}}, "pink has the numbers 1 to 2"),
        ({"pink 1": {"move": "green"}}, "no class"),
        ({"pink 1": {"name": "a\nb"}}, "one line"),
        ({"pink 1": {"move": "blue", "hide": True}}, "contradict"),
        ({name: {"hide": True} for name in ("pink 1", "pink 2", "blue 1", "blue 2")}, "keep one"),
    ],
)
def test_edits_that_cannot_be_change_nothing(entries: Any, reason: str, opened: Opened) -> None:
    _, client, run = opened
    before = shown(client)
    answer = client.post("/api/edits", json={"entries": entries, "save": True})
    assert answer.status_code == 422 and reason in answer.json()["error"]
    assert client.get("/api/session").json()["edits"]["entries"] == {}
    assert (shown(client) == before).all() and not (run / "edits.yaml").exists()
    assert client.post("/api/edits", json={"entries": {"pink 1": {"paint": "x"}}}).status_code == 400


def test_edits_of_the_run_act_from_the_start(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], own_run: Path, small_data: Path
) -> None:
    (own_run / "edits.yaml").write_text("pink 1: {name: '<b>rosy</b>'}\n")
    client = asking(visit_to(own_run, small_data))
    told = client.get("/api/session").json()
    assert told["edits"]["entries"] == {"pink 1": {"name": "<b>rosy</b>"}}
    assert told["runs"][0]["prototypes"][0]["called"] == "pink <b>rosy</b>"
    assert told["edits"]["changed"] is False


def test_a_file_of_edits_that_is_not_there_yet_is_made_when_they_are_saved(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], own_run: Path, small_data: Path, tmp_path: Path
) -> None:
    (own_run / "edits.yaml").write_text("pink 1: {hide: true}\n", encoding="utf-8")
    file = tmp_path / "mine.yaml"
    client = asking(visit_to(own_run, small_data, edits=file))
    assert client.get("/api/session").json()["edits"]["entries"] == {}
    assert not file.exists()
    entries = {"pink 2": {"name": "rosy"}}
    assert client.post("/api/edits", json={"entries": entries, "save": True}).status_code == 200
    assert {key: one.as_dict() for key, one in read_edits(file).entries.items()} == entries
    assert read_edits(own_run / "edits.yaml").entries.keys() == {"pink 1"}  # as it was


def test_a_second_run_is_shown_with_its_own_edits_which_stay(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], prototype_run: Path, own_run: Path,
    small_data: Path,
) -> None:  # fmt: skip
    file = own_run / "edits.yaml"
    file.write_text("# mine\npink 1: {move: blue}\npink 2: {name: rosy}\n")
    visit = visit_to([prototype_run, own_run], small_data)
    client = asking(visit)
    first, second = client.get("/api/session").json()["runs"]
    assert first["edits"] is None and second["edits"] == {"file": str(file), "count": 2}
    client.post("/api/fields", json={"image": 12, "box": [0, 0, 32, 32]})
    assert visit.wait(60)
    path = visit.items[12].path
    for run, edits in enumerate((None, file)):
        wanted = api.load(prototype_run, device="cpu", edits=edits).segment(read_image(path)).mask
        answer = client.get(f"/layers/{run}/12/mask/5/0/0?hidden=0")
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3] == 255
        assert (pixels == (wanted != 0)).all()
    saved = client.post("/api/edits", json={"entries": {"pink 1": {"hide": True}}})
    assert saved.status_code == 200 and visit.runs[1].version == 1  # edits in the page are of the first run
    assert file.read_text().startswith("# mine")


def test_a_file_that_somebody_else_changed_is_kept(opened: Opened) -> None:
    _, client, run = opened
    (run / "edits.yaml").write_text("blue 1: {hide: true}\n")
    answer = client.post("/api/edits", json={"entries": {"pink 1": {"hide": True}}, "save": True})
    assert answer.status_code == 422 and "changed by somebody else" in answer.json()["error"]
    assert (run / "edits.yaml").read_text() == "blue 1: {hide: true}\n"


def test_the_atlas_shows_regions_within_the_data_alone(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], own_run: Path, small_data: Path, tmp_path: Path
) -> None:
    inside = sorted((small_data / "train").iterdir())[0].relative_to(small_data).as_posix()
    outside = tmp_path / "secret.png"
    Image.new("RGB", (32, 32), "red").save(outside)
    link = tmp_path / "data" / "link.png"
    link.parent.mkdir()
    link.symlink_to(outside)
    shutil.copytree(small_data, link.parent, dirs_exist_ok=True)
    region = {"patient": "p", "box": [2, 3, 20, 10], "share": 0.2, "strength": 0.9}
    paths = [inside, "../secret.png", str(outside), "link.png"]
    one = {
        "name": "pink",
        "number": 1,
        "retired": False,
        "share": 0.5,
        "regions": [region | {"path": p} for p in paths],
    }
    kept = {"format": 1, "root": str(link.parent), "prototypes": [one] + [one | {"regions": []}] * 3}
    (own_run / FILE).write_text(json.dumps(kept))
    client = asking(visit_to(own_run, small_data))
    first = client.get("/api/atlas").json()["prototypes"][0]
    assert [one["number"] for one in first["regions"]] == [0] and first["trained"] == 0.5
    assert [one["prototype"] for one in first["siblings"]] == [1]
    picture = Image.open(io.BytesIO(client.get("/regions/0/0").content))
    assert max(picture.size) == 120
    for n in (1, 2, 3, 4):
        assert client.get(f"/regions/0/{n}").status_code == 404


def test_a_run_without_prototypes_has_no_atlas(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], small_run: Path, small_data: Path
) -> None:
    client = asking(visit_to(small_run, small_data))
    assert client.get("/api/atlas").json()["prototypes"] == []
    answer = client.post("/api/edits", json={"entries": {"pink 1": {"hide": True}}})
    assert answer.status_code == 422 and "not made of prototypes" in answer.json()["error"]

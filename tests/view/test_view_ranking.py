"""Worst first in the viewer: the orders and cells of `evaluate --worst`, asked for and stopped by a person."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import pink_and_blue
from lpdseg import api
from lpdseg.data.patches import read_image, read_mask
from lpdseg.data.records import PatchRecord
from lpdseg.evaluation.split import labelled_batches
from lpdseg.evaluation.worst import PatchFigures, patch_figures, patient_rows, worst_first
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.view import fields, ranking
from lpdseg.view.visit import Visit

tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")


def ranked(client: TestClient, visit: Visit, images: list[int] | None = None) -> dict[str, Any]:
    answer = client.post("/api/ranking", json={"what": "rank", "images": images})
    assert answer.status_code == 200, answer.text
    assert visit.wait(120)
    told = client.post("/api/ranking", json={"what": "look"}).json()
    assert not told["running"] and told["done"] == told["whole"]
    found: dict[str, Any] = client.get("/api/ranking").json()
    return found


def figures_of(visit: Visit, run: Path, *others: Path) -> list[PatchFigures]:
    """What `evaluate` computes of all patches."""
    segmenter = load_segmenter(run, device="cpu")
    records = [PatchRecord(one.path, one.labels, one.group, one.patient, one.truth) for one in visit.items]
    batches = labelled_batches(records, visit.opened.classes, 3)
    return patch_figures(
        segmenter, records, batches, others=[load_segmenter(other, device="cpu") for other in others]
    )


def test_orders_are_those_of_evaluate(
    visit_to: Callable[..., Visit], asking: Any, prototype_run: Path, small_run: Path, small_data: Path
) -> None:
    visit = visit_to([prototype_run, small_run], small_data)
    client = asking(visit)
    assert client.get("/api/ranking").json()["ranked"] == []  # nothing is computed that nobody asked for
    found, expected = ranked(client, visit), figures_of(visit, prototype_run, small_run)
    paths = [item.path for item in visit.items]
    assert set(found["orders"]) == {"error", "uncertainty", "disagreement"}
    for by, order in found["orders"].items():
        images = [found["ranked"][at]["image"] for at in order]
        worst = worst_first(expected, by)
        assert [paths[image] for image in images] == [one.record.path for one in worst], by
    assert len(found["orders"]["error"]) == 4 and len(found["orders"]["uncertainty"]) == 16
    assert np.array_equal(found["confusion"], sum(one.confusion for one in expected))
    assert found["patients"] == patient_rows(expected, visit.runs[0].segmenter.classes)


def test_some_images_can_be_ranked_alone(client: TestClient, visit: Visit) -> None:
    found = ranked(client, visit, [3, 1, 15, 3])
    assert sorted(one["image"] for one in found["ranked"]) == [1, 3, 15]
    assert sum(row["patches"] for row in found["patients"]) == 3
    assert ranked(client, visit, [])["ranked"] == []
    for bad in ([16], [-1]):
        assert client.post("/api/ranking", json={"what": "rank", "images": bad}).status_code == 404
    assert client.post("/api/ranking", json={"what": "rank", "images": "all"}).status_code == 400


def test_a_cell_gives_the_patches_that_hold_its_pair(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    found = ranked(client, visit)
    pixels = {
        index: (read_mask(item.truth, visit.opened.classes), api.segment(prototype_run, item.path).mask)
        for index, item in enumerate(visit.items)
        if item.truth is not None
    }
    for truth in range(2):
        for mask in range(2):
            held = {i: int(((true == truth) & (made == mask)).sum()) for i, (true, made) in pixels.items()}
            cell = client.get(f"/api/ranking/{truth}/{mask}").json()
            assert {one["image"]: one["pixels"] for one in cell} == {i: n for i, n in held.items() if n}
            assert [one["pixels"] for one in cell] == sorted((n for n in held.values() if n), reverse=True)
            assert found["confusion"][truth][mask] == sum(held.values())
    for bad in ("2/0", "0/2", "0/999"):
        assert client.get(f"/api/ranking/{bad}").status_code == 404


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Semaphore, threading.Semaphore]]:
    """Batches that wait until they may be computed: `begun` tells of each, `allowed` lets one through."""
    begun, allowed, own = threading.Semaphore(0), threading.Semaphore(0), ranking.patch_figures

    def slow(*given: Any, **more: Any) -> list[PatchFigures]:
        begun.release()
        assert allowed.acquire(timeout=60)
        return own(*given, **more)

    monkeypatch.setattr(ranking, "patch_figures", slow)
    yield begun, allowed
    allowed.release(100)


def test_ranking_stops_and_keeps_what_is_done(client: TestClient, visit: Visit, held_back: Any) -> None:
    begun, allowed = held_back
    told = client.post("/api/ranking", json={"what": "rank"}).json()
    assert told["running"] and (told["done"], told["whole"]) == (0, 16)
    batch = min(visit.runs[0].segmenter.settings.batch, ranking.AT_ONCE)
    assert batch < 16 and begun.acquire(timeout=60)
    told = client.post("/api/ranking", json={"what": "stop"}).json()
    assert told["running"]  # a batch is on its way
    allowed.release()
    assert visit.wait(60)
    told = client.post("/api/ranking", json={"what": "look"}).json()
    assert (told["running"], told["done"], told["whole"]) == (False, batch, 16)
    assert len(client.get("/api/ranking").json()["ranked"]) == batch
    assert not begun.acquire(timeout=0.2)


def test_fields_come_before_the_ranking(client: TestClient, visit: Visit, held_back: Any) -> None:
    begun, allowed = held_back
    client.post("/api/ranking", json={"what": "rank"})
    assert begun.acquire(timeout=60)
    client.post("/api/fields", json={"image": 7, "box": [0, 0, 32, 32]})
    allowed.release()
    assert begun.acquire(timeout=60)  # of the second batch: the field was computed before it
    assert client.post("/api/fields", json={"image": 7, "what": "look"}).json()[0]["known"] == 1


def test_edits_end_a_ranking_and_are_told(client: TestClient, visit: Visit, held_back: Any) -> None:
    begun, allowed = held_back
    key = visit.runs[0].plain.prototype_names[0]
    client.post("/api/ranking", json={"what": "rank"})
    assert begun.acquire(timeout=60)
    editing = threading.Thread(
        target=lambda: client.post("/api/edits", json={"entries": {key: {"hide": True}}}), daemon=True
    )
    editing.start()
    allowed.release(100)
    editing.join(60)
    assert visit.wait(60) and client.post("/api/ranking", json={"what": "look"}).json()["stale"]
    found = ranked(client, visit)
    assert len(found["ranked"]) == 16 and not client.post("/api/ranking", json={"what": "look"}).json()["stale"]


def test_many_runs_are_asked_and_one_is_shown(
    visit_to: Callable[..., Visit], asking: Any, prototype_run: Path, small_run: Path, small_data: Path
) -> None:
    """As of a benchmark, whose members nobody looks at one by one."""
    folders = [prototype_run, small_run, prototype_run, small_run]
    visit = visit_to(folders, small_data)
    client = asking(visit)
    told = client.get("/api/session").json()
    assert [run["name"] for run in told["runs"]] == ["prototypes"] and told["asked"] == 3
    found, expected = ranked(client, visit), figures_of(visit, *folders)
    paths = [item.path for item in visit.items]
    images = [found["ranked"][at]["image"] for at in found["orders"]["disagreement"]]
    assert [paths[at] for at in images] == [one.record.path for one in worst_first(expected, "disagreement")]
    assert client.get("/layers/1/0/mask/0/0/0").status_code == 404


def test_runs_that_are_asked_have_their_own_edits(
    visit_to: Callable[..., Visit], asking: Any, prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    edited = Path(shutil.copytree(prototype_run, tmp_path / "edited"))
    file = edited / "edits.yaml"
    file.write_text("pink 1: {move: blue}\npink 2: {move: blue}\n")
    visit = visit_to([prototype_run, edited, prototype_run], small_data)
    client = asking(visit)
    told = client.get("/api/session").json()
    assert (told["asked"], told["edited"]) == (2, 1)
    found = {visit.items[one["image"]].path: one["disagreement"] for one in ranked(client, visit)["ranked"]}
    plain, moved = (api.load(prototype_run, device="cpu", edits=edits) for edits in (None, file))
    for path in [item.path for item in visit.items][:4]:
        image = read_image(path)
        differ = (plain.segment(image).mask != moved.segment(image).mask).mean()
        assert found[path] == pytest.approx(100 * differ * 2 / 3, abs=1e-3)  # in two of three pairs
    assert max(found.values()) > 0


def test_a_damaged_patch_costs_no_other_its_figures(
    visit_to: Callable[..., Visit], asking: Any, prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    images = sorted((small_data / "valid" / "img").iterdir())[:3]
    for image in images:
        (tmp_path / image.name).write_bytes(image.read_bytes())
    broken = tmp_path / images[1].name
    visit = visit_to(prototype_run, tmp_path)
    client = asking(visit)
    broken.write_bytes(broken.read_bytes()[:200])
    found = ranked(client, visit)
    assert sorted(one["image"] for one in found["ranked"]) == [0, 2]
    faults = client.post("/api/ranking", json={"what": "look"}).json()["faults"]
    assert len(faults) == 1 and faults[0].startswith(images[1].name)
    assert set(found["orders"]) == {"uncertainty"} and found["confusion"] is None and found["patients"] == []


def test_fields_of_a_slide_that_were_seen_are_ranked(
    visit_to: Callable[..., Visit], asking: Any, prototype_run: Path, small_run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rng, pixels = np.random.default_rng(1), np.full((128, 192, 3), 250, np.uint8)
    for row in range(4):
        for column in range(4):
            pixels[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = pink_and_blue.draw(
                row + column, rng
            )[0]
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:  # of several pages, so that it is no image
        for level in range(2):
            resolution = 2e4 / (1 << level)
            writer.write(
                pixels[:: 1 << level, :: 1 << level], tile=(64, 64), photometric="rgb", subfiletype=level,
                resolution=(resolution, resolution), resolutionunit="CENTIMETER",
            )  # fmt: skip
    monkeypatch.setattr(fields, "SIDE", 64)
    visit = visit_to([prototype_run, small_run], path, model_mpp=0.5, window=32)
    client = asking(visit)
    assert ranked(client, visit)["ranked"] == []  # nothing of it was seen yet
    client.post("/api/fields", json={"image": 0, "box": [0, 0, 128, 64]})
    assert visit.wait(120)
    visit.runs[1].edit(None)  # of the second run nothing is known any more: it is computed where it is needed
    found = ranked(client, visit)
    assert visit.runs[1].known(0) == {}
    client.post("/api/fields", json={"image": 0, "box": [0, 0, 128, 64]})
    assert visit.wait(120)
    assert sorted(one["box"] for one in found["ranked"]) == [[0, 0, 64, 64], [64, 0, 64, 64]]
    count = len(visit.runs[0].segmenter.classes)
    for one in found["ranked"]:
        number = int(one["box"][0]) // 64
        mine, theirs = (run.field(0, number) for run in visit.runs)
        assert mine is not None and theirs is not None and one["error"] is None
        two = np.sort(mine.probabilities.astype(np.float32), 0)[-2:]
        tissue, below = mine.mask < count, visit.runs[0].segmenter.settings.unsure
        assert one["unsure"] == pytest.approx(100 * ((two[1] - two[0]) < below)[tissue].mean(), abs=1e-3)
        either = tissue | (theirs.mask < count)
        assert one["disagreement"] == pytest.approx(100 * (mine.mask != theirs.mask)[either].mean(), abs=1e-3)
    assert set(found["orders"]) == {"uncertainty", "disagreement"} and found["confusion"] is None


def test_other_words_and_other_sites_are_refused(client: TestClient) -> None:
    assert client.post("/api/ranking", json={"what": "everything"}).status_code == 400
    assert client.post("/api/ranking", json={}).status_code == 400
    assert client.get("/api/ranking", headers={"origin": "http://evil.example"}).status_code == 403

"""Patches: tiles are the pixels, layers are what `segment` makes, and memory stays as it is."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lpdseg import api
from lpdseg.data.manifest import write_manifest
from lpdseg.data.opening import open_data
from lpdseg.data.patches import read_image
from lpdseg.insight.pictures import heat_palette
from lpdseg.pictures.masks import class_palette, outlines
from lpdseg.view.layers import STRIPES
from lpdseg.view.visit import Visit
from lpdseg.view.written import patch_results


def picture(client: TestClient, address: str) -> np.ndarray:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def computed(client: TestClient, visit: Visit, index: int) -> list[dict[str, Any]]:
    answer = client.post("/api/fields", json={"image": index, "box": [0, 0, 1e6, 1e6]})
    assert answer.status_code == 200, answer.text
    assert visit.wait(60)
    told: list[dict[str, Any]] = client.post("/api/fields", json={"image": index, "what": "look"}).json()
    return told


def valid_image(visit: Visit) -> int:
    return next(index for index, item in enumerate(visit.items) if item.truth is not None)


def test_patches_that_may_be_corrected_come_first(
    visit_to: Callable[..., Visit], prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    data = open_data(small_data, chosen="pink,blue", presumed=None, mask_values=())
    turned = replace(data, records=tuple(sorted(data.records, key=lambda record: record.split == "train")))
    write_manifest(turned, tmp_path / "manifest.csv")
    splits = [item.group for item in visit_to(prototype_run, tmp_path / "manifest.csv").items]
    count = splits.count("train")
    assert 0 < count < len(splits) and splits[:count] == ["train"] * count


def test_tiles_are_the_pixels_of_the_image(client: TestClient, visit: Visit) -> None:
    told = client.get("/api/images/3").json()
    image = read_image(visit.items[3].path)
    assert (told["width"], told["height"], told["level"]) == (32, 32, 5)
    assert (picture(client, "/pictures/3/5/0/0")[..., :3] == image).all()
    half = picture(client, "/pictures/3/4/0/0")[..., :3]
    mean = image.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert half.shape == (16, 16, 3) and np.abs(half - mean).max() <= 1
    assert picture(client, "/pictures/3/0/0/0").shape == (1, 1, 4)


def test_a_mask_is_the_one_that_segment_makes(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    index = valid_image(visit)
    assert picture(client, f"/layers/0/{index}/mask/5/0/0")[..., 3].max() == 0  # nothing is known yet
    assert computed(client, visit, index)[0]["known"] == 1
    found = api.segment(prototype_run, visit.items[index].path)
    shown = picture(client, f"/layers/0/{index}/mask/5/0/0")
    expected = class_palette(found.classes)[found.classes.to_internal()[found.mask]]
    assert (shown[..., :3] == expected).all() and (shown[..., 3] == 255).all()
    areas = client.post("/api/areas", json={"image": index}).json()[0]
    counts = [int((found.mask == value).sum()) for value in found.classes.indices]
    assert areas["pixels"][:2] == counts and areas["known"] == areas["whole"] == found.mask.size
    assert areas["prototypes"] == [round(share * found.mask.size) for share in found.prototype_shares.values()]
    at = client.get(f"/api/images/{index}/place?x=7.5&y=20").json()[0]
    assert found.uncertainty is not None and found.uncertainty.temperature != 1
    np.testing.assert_allclose(at["probabilities"], found.uncertainty.probabilities[:, 20, 7], atol=1e-3)
    assert at["gap"] == pytest.approx(found.uncertainty.gap[20, 7], abs=2e-3)
    assert at["entropy"] == pytest.approx(found.uncertainty.entropy[20, 7], abs=2e-3)
    assert found.prototypes is not None and at["prototype"] == found.prototypes[20, 7]


def test_every_layer_can_be_drawn(client: TestClient, visit: Visit) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    layers = client.get(f"/api/images/{index}").json()["runs"][0]["layers"]
    names = [layer["name"] for layer in layers]
    assert {"mask", "prototypes", "entropy", "gap", "truth", "errors", "class-0", "prototype-3"} <= set(names)
    for name in names:
        for level in (5, 3):
            picture(client, f"/layers/0/{index}/{name}/{level}/0/0?hidden=1&style=outline&lit=2")


def test_classes_can_be_switched_off_and_outlined(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    mask = api.segment(prototype_run, visit.items[index].path).mask
    tile = f"/layers/0/{index}/mask/5/0/0"
    assert ((picture(client, f"{tile}?hidden=0")[..., 3] == 255) == (mask == 1)).all()
    edges = np.zeros(mask.shape, bool)
    down, across = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    assert ((picture(client, f"{tile}?style=outline")[..., 3] == 255) == edges).all()


def test_outlines_of_large_images_have_two_pixels_on_each_side(
    client: TestClient, visit: Visit, prototype_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    monkeypatch.setattr("lpdseg.view.layers._SHOWN_WHOLE", 16)
    edges = outlines(api.segment(prototype_run, visit.items[index].path).mask)
    near = [(y, x) for y, x in np.ndindex(edges.shape) if any(
        edges[y + down, x + right]
        for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        if 0 <= y + down < len(edges) and 0 <= x + right < edges.shape[1]
    )]  # fmt: skip
    shown = picture(client, f"/layers/0/{index}/mask/5/0/0?style=outline")[..., 3] == 255
    assert len(near) > edges.sum() > 0 and sorted(map(tuple, np.argwhere(shown))) == near


def test_errors_are_where_mask_and_truth_differ(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    item = visit.items[index]
    assert item.truth is not None
    truth = np.asarray(Image.open(item.truth))
    wrong = api.segment(prototype_run, item.path).mask != truth
    wrong &= truth != 255
    shown = picture(client, f"/layers/0/{index}/errors/5/0/0?hidden=0,1")
    assert ((shown[..., 3] == 255) == wrong).all()
    stripe = np.add.outer(np.arange(32), np.arange(32)) // 2 % 2
    assert (shown[wrong][:, :3] == np.array(STRIPES)[stripe[wrong]]).all() and len(set(stripe[wrong])) == 2
    edges = picture(client, f"/layers/0/{index}/errors/5/0/0?style=outline")[..., 3] == 255
    assert (edges == (wrong & outlines(wrong.astype(np.uint8)))).all()


def test_what_training_has_retired_is_no_layer(client: TestClient, visit: Visit) -> None:
    visit.runs[0].loaded.model.head.live[2] = False
    names = {layer["name"] for layer in client.get("/api/images/0").json()["runs"][0]["layers"]}
    assert {"prototype-1", "prototype-3"} <= names and "prototype-2" not in names


def test_prototypes_are_lit_one_by_one(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    won = api.segment(prototype_run, visit.items[index].path).prototypes
    for k in range(4):
        shown = picture(client, f"/layers/0/{index}/prototypes/5/0/0?lit={k}")[..., 3] == 255
        assert (shown == (won == k)).all()


def test_what_segment_wrote_is_read_back(
    visit_to: Any, asking: Any, prototype_run: Path, small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    images, out = small_data / "valid" / "img", tmp_path / "out"
    more = {"probabilities": True, "prototypes": True, "uncertainty": True, "device": "cpu"}
    api.segment_files(prototype_run, [images], out, **more)
    visit = visit_to(prototype_run, out)
    client = asking(visit)
    found = api.segment(prototype_run, visit.items[2].path)
    assert found.prototypes is not None and found.uncertainty is not None
    layers = {one["name"]: one["read"] for one in client.get("/api/images/2").json()["runs"][0]["layers"]}
    assert layers["mask"] is None and layers["written"] == str(out / "masks" / f"{visit.items[2].path.stem}.png")
    for k in range(4):
        lit = picture(client, f"/layers/0/2/written-prototypes/5/0/0?lit={k}")[..., 3] == 255
        assert (lit == (found.prototypes == k)).all()
    for c, name in enumerate(found.channels):
        shown = picture(client, f"/layers/0/2/written-class-{c}/5/0/0")[..., :3]
        values = found.probabilities[c].astype(np.float16).astype(np.float32)
        assert (shown == heat_palette()[(values * 254).round().astype(int)]).all(), name
    grey = picture(client, "/layers/0/2/written-gap/5/0/0")[..., :3]
    assert (grey == heat_palette()[(found.uncertainty.grey / 255 * 254).round().astype(int)]).all()
    areas = client.post("/api/areas", json={"image": 2, "read": True}).json()[0]
    assert areas["read"] and areas["known"] == areas["whole"] == found.mask.size
    assert areas["pixels"][:2] == [int((found.mask == value).sum()) for value in found.classes.indices]
    assert areas["prototypes"] == [int((found.prototypes == k).sum()) for k in range(4)]
    at = client.get("/api/images/2/place?x=7.5&y=20&read=true").json()[0]
    np.testing.assert_allclose(at["probabilities"], found.probabilities[:, 20, 7], atol=1e-3)  # as in the file
    assert at["gap"] == pytest.approx(found.uncertainty.gap[20, 7], abs=3e-3) and at["entropy"] is None
    assert (at["channel"], at["prototype"]) == (found.mask[20, 7], found.prototypes[20, 7])
    assert visit.runs[0].known(2) == {}  # nothing was computed
    # Files are told by the record, whatever became of their times; without it, as of earlier versions, by these.
    record = json.loads((out / "segment.json").read_text())
    assert record["outputs"] == ["masks", "prototypes", "uncertainty", "probabilities"]
    for file in (out / "probabilities").iterdir():
        os.utime(file, (0, 0))
    assert "probabilities" in dict(patch_results(out))[visit.items[2].path].files
    (out / "segment.json").write_text(json.dumps({**record, "outputs": None}))
    assert "probabilities" not in dict(patch_results(out))[visit.items[2].path].files
    # What an earlier run left beside new masks is not of them, and another run's prototypes have other numbers.
    api.segment_files(small_run, [images], out, device="cpu")
    told = asking(visit_to(prototype_run, out)).get("/api/images/2").json()["runs"][0]["layers"]
    read = {one["name"]: one["read"] for one in told if one["read"] is not None}
    assert list(read) == ["written"] and read["written"].endswith(", which another model wrote")


def test_results_are_shown_under_the_run_that_wrote_them(
    visit_to: Any, asking: Any, prototype_run: Path, small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    api.segment_files(small_run, [small_data / "valid" / "img"], tmp_path, device="cpu")
    client = asking(visit_to([prototype_run, small_run], tmp_path))
    first, second = (one["layers"] for one in client.get("/api/images/2").json()["runs"])
    assert [one["name"] for one in first if one["read"]] == []
    assert [one["name"] for one in second if one["read"]] == ["written"]
    found = client.post("/api/areas", json={"image": 2, "read": True}).json()
    assert [one["read"] for one in found] == [False, True]


def test_a_region_is_measured(client: TestClient, visit: Visit, prototype_run: Path) -> None:
    index = valid_image(visit)
    computed(client, visit, index)
    mask = api.segment(prototype_run, visit.items[index].path).mask
    square = [[4, 8], [20, 8], [20, 30], [4, 30]]
    found = client.post("/api/areas", json={"image": index, "polygon": square}).json()[0]
    assert found["known"] == found["whole"] and abs(found["whole"] - 16 * 22) <= 2 * (16 + 22)
    part = mask[8:30, 4:20]
    for c in range(2):
        assert abs(found["pixels"][c] - int((part == c).sum())) <= 2 * (16 + 22)


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/api/fields", {"image": 0, "box": [0, 0, 1]}),
        ("/api/fields", {"image": "x"}),
        ("/api/fields", {"image": 0, "what": "everything"}),
        ("/api/areas", {"image": 0, "polygon": [[0, 0], [1, 1]]}),
        ("/api/areas", {"image": 0, "polygon": [["a", 0], [1, 1], [2, 2]]}),
    ],
)
def test_what_cannot_be_understood_is_refused(address: str, sent: Any, client: TestClient) -> None:
    assert client.post(address, json=sent).status_code == 400
    assert client.post(address, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert client.get("/api/images/0/place?x=nan&y=1").status_code == 400
    assert client.get("/layers/0/0/mask/0/0/0?hidden=1,<script>").status_code == 400


def test_what_is_not_there_is_told(client: TestClient) -> None:
    assert client.post("/api/fields", json={"image": 99}).status_code == 404
    assert client.get("/api/images/99").json() == {"error": "there is no image 99"}


def test_an_image_that_cannot_be_read_is_told(
    visit_to: Any, asking: Any, prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    image = sorted((small_data / "valid" / "img").iterdir())[0]
    good.write_bytes(image.read_bytes())
    bad.write_bytes(image.read_bytes()[:200])
    visit = visit_to(prototype_run, tmp_path)
    client = asking(visit)
    answer = client.get("/api/images/0")
    assert answer.status_code == 422 and "bad.png" in answer.json()["error"]
    assert computed(client, visit, 1)[0]["known"] == 1


def test_memory_is_flat_over_many_tiles(client: TestClient, visit: Visit) -> None:
    import gc
    import tracemalloc

    index = valid_image(visit)
    computed(client, visit, index)

    def some(count: int) -> None:
        for number in range(count):
            level = number % 6
            client.get(f"/pictures/{index}/{level}/0/0")
            client.get(
                f"/layers/0/{index}/{('mask', 'prototypes', 'entropy')[number % 3]}/{level}/0/0?lit={number % 4}"
            )

    some(60)
    tracemalloc.start()
    try:
        some(30)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        some(150)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 300_000
    finally:
        tracemalloc.stop()

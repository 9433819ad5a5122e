"""Slides: tiles of any level, fields that are computed when they are seen, and the masks that `segment` makes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import pink_and_blue
from lpdseg import api
from lpdseg.insight.pictures import heat_palette
from lpdseg.slides.image_slide import ImageSlide
from lpdseg.view import fields
from lpdseg.view.pixels import level_size, levels, tile_box, tile_pixels

tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 x 200 pixels of pink and blue tissue with glass around it, as a pyramid at 0.5 microns per pixel."""
    rng, pixels = np.random.default_rng(1), np.full((200, 300, 3), 250, np.uint8)
    for row in range(1, 5):
        for column in range(1, 8):
            pixels[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = pink_and_blue.draw(
                row + column, rng
            )[0]
    path = tmp_path_factory.mktemp("slides") / "a<b>&.tif"
    with tifffile.TiffWriter(path) as writer:
        for level in range(2):
            part = np.asarray(Image.fromarray(pixels).reduce(1 << level))
            resolution = 1e4 / (0.5 * (1 << level))
            writer.write(
                part, tile=(64, 64), photometric="rgb", subfiletype=min(level, 1),
                resolution=(resolution, resolution), resolutionunit="CENTIMETER",
            )  # fmt: skip
    return path


@pytest.fixture
def opened(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], prototype_run: Path, slide: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Any, TestClient]:  # fmt: skip
    monkeypatch.setattr(fields, "SIDE", 64)
    visit = visit_to(prototype_run, slide, model_mpp=0.5, window=32)
    return visit, asking(visit)


def mask_tile(client: TestClient, address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(client.get(address).content)).convert("RGBA"))


def test_tiles_of_every_level_are_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (333, 601, 3), np.uint8)
    slide = ImageSlide(Path("x.png"), pixels)
    top = levels((601, 333))
    assert top == 10 and level_size((601, 333), top - 1) == (301, 167)
    for level in (top, top - 1, top - 3, 0):
        width, height = level_size((601, 333), level)
        whole = np.zeros((height, width, 3), np.uint8)
        for row in range(-(-height // 256)):
            for column in range(-(-width // 256)):
                x, y, w, h = tile_box((601, 333), level, column, row)
                whole[y : y + h, x : x + w] = tile_pixels(slide, level, column, row)
        down = 1 << (top - level)
        filled = np.full((height * down, width * down, 3), 255.0)
        filled[:333, :601] = pixels
        mean = filled.reshape(height, down, width, down, 3).mean((1, 3))
        assert np.abs(whole - mean).max() <= 1, level


def test_the_mask_is_the_one_that_segment_writes(
    opened: tuple[Any, TestClient], prototype_run: Path, slide: Path, tmp_path: Path
) -> None:
    visit, client = opened
    box = [0, 0, 300, 200]
    told = client.post("/api/fields", json={"image": 0, "box": box}).json()[0]
    assert told["fields"] == 5 * 4 and told["waiting"] > 0
    assert visit.wait(120)
    api.segment_slides(
        prototype_run, [slide], tmp_path, to="label-tiff", model_mpp=0.5, window=32, device="cpu", prototypes=True,
        workers=0,
    )  # fmt: skip
    written = tifffile.imread(next((tmp_path / "labels").iterdir()))
    won = tifffile.imread(next((tmp_path / "prototypes").iterdir()))
    tissue = np.where(written < 2, 255, 0)
    for column in range(2):
        shown = mask_tile(client, f"/layers/0/0/mask/9/{column}/0")
        part = np.s_[: shown.shape[0], column * 256 : column * 256 + shown.shape[1]]
        assert (shown[..., 3] == tissue[part]).mean() > 0.999
        blue = mask_tile(client, f"/layers/0/0/mask/9/{column}/0?hidden=0")[..., 3] == 255
        assert (blue == (written[part] == 1)).mean() > 0.999
        for k in range(4):
            lit = mask_tile(client, f"/layers/0/0/prototypes/9/{column}/0?lit={k}")[..., 3] == 255
            assert (lit == (won[part] == k)).mean() > 0.999
    areas = client.post("/api/areas", json={"image": 0}).json()[0]
    assert areas["mm2"] == pytest.approx(0.25e-6) and areas["known"] == areas["whole"] == 300 * 200
    assert abs(areas["pixels"][0] - int((written == 0).sum())) < 60


def test_only_what_is_looked_at_is_computed(opened: tuple[Any, TestClient]) -> None:
    visit, client = opened
    client.post("/api/fields", json={"image": 0, "box": [70, 70, 20, 20]})
    assert visit.wait(60)
    assert list(visit.runs[0].known(0)) == [6]
    shown = mask_tile(client, "/layers/0/0/mask/9/0/0")[..., 3]
    assert shown[64:128, 64:128].any() and not shown[:64].any() and not shown[:, 140:].any()
    half = mask_tile(client, "/layers/0/0/mask/8/0/0")[..., 3]
    assert half[32:64, 32:64].any() and not half[:32].any()
    client.post("/api/fields", json={"image": 0, "what": "all"})
    assert visit.wait(120)
    assert len(visit.runs[0].known(0)) == 20


def test_a_slide_without_microns_is_shown_and_not_segmented(
    visit_to: Callable[..., Any], asking: Callable[..., TestClient], prototype_run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(np.full((40, 2100, 3), 200, np.uint8)).save(path)
    client = asking(visit_to(prototype_run, path, model_mpp=0.5, window=32))
    told = client.get("/api/images/0").json()
    assert "how many microns a pixel is" in told["runs"][0]["reason"] and told["runs"][0]["layers"] == []
    assert client.get("/pictures/0/12/8/0").status_code == 200
    assert client.post("/api/fields", json={"image": 0, "box": [0, 0, 9, 9]}).json()[0]["reason"]


def test_results_show_what_was_written(
    visit_to: Callable[..., Any],
    asking: Callable[..., TestClient],
    prototype_run: Path,
    slide: Path,
    tmp_path: Path,
) -> None:
    api.segment_slides(
        prototype_run, [slide], tmp_path, to="ome-tiff", model_mpp=0.5, window=32, device="cpu", workers=0
    )
    written = tifffile.imread(next((tmp_path / "masks").iterdir()))
    client = asking(visit_to(prototype_run, tmp_path, model_mpp=0.5, window=32))
    assert client.get("/api/images/0").json()["runs"][0]["layers"][0]["name"] == "written"
    shown = mask_tile(client, "/layers/0/0/written/9/0/0")
    assert ((shown[..., 3] == 255) == (written[:200, :256] < 2)).all()


def test_prototypes_and_probabilities_are_read_back_from_results(
    visit_to: Callable[..., Any],
    asking: Callable[..., TestClient],
    prototype_run: Path,
    slide: Path,
    tmp_path: Path,
) -> None:
    zarr = pytest.importorskip("zarr")
    api.segment_slides(
        prototype_run, [slide], tmp_path, to="ome-tiff,zarr,uncertainty", model_mpp=0.5, window=32, device="cpu",
        prototypes=True, workers=0,
    )  # fmt: skip
    visit = visit_to(prototype_run, tmp_path, model_mpp=0.5, window=32)
    client = asking(visit)
    layers = client.get("/api/images/0").json()["runs"][0]["layers"]
    read = {one["name"]: one["read"] for one in layers if one["read"] is not None}
    assert list(read)[:3] == ["written", "written-prototypes", "written-gap"]
    assert list(read)[3:] == [f"written-class-{c}" for c in range(len(visit.runs[0].segmenter.channel_names))]
    assert read["written-gap"] == str(next((tmp_path / "uncertainty").iterdir()))
    won = tifffile.imread(next((tmp_path / "prototypes").iterdir()))[:200, :256]
    for k in range(4):
        lit = mask_tile(client, f"/layers/0/0/written-prototypes/9/0/0?lit={k}")[..., 3] == 255
        assert (lit == (won == k)).all()
    stored = zarr.open_group(str(next((tmp_path / "probabilities").iterdir())), mode="r")["0"][1][:200, :256]
    grey = tifffile.imread(next((tmp_path / "uncertainty").iterdir()))[:200, :256]
    for name, values in (("written-class-1", stored), ("written-gap", grey)):
        shown = mask_tile(client, f"/layers/0/0/{name}/9/0/0")
        assert (shown[..., :3] == heat_palette()[(values / 255 * 254).round().astype(int)]).all(), name
    assert client.get("/layers/0/0/written-class-1/7/0/0").status_code == 200  # of a smaller level
    assert visit.runs[0].known(0) == {}  # nothing was computed


@pytest.mark.parametrize("to", ["label-tiff", "ome-tiff"])
@pytest.mark.parametrize("mpp", [0.75, 0.4])
def test_areas_and_places_are_those_of_the_written_mask(
    to: str, mpp: float, visit_to: Callable[..., Any], asking: Callable[..., TestClient], prototype_run: Path,
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also of a slide that is coarser than the model, whose mask is the larger."""
    monkeypatch.setattr("lpdseg.view.written.BLOCK", 96)
    [result] = api.segment_slides(
        prototype_run, [slide], tmp_path, to=to, model_mpp=mpp, window=32, device="cpu", prototypes=True, workers=0
    )
    folders = [tmp_path / ("labels" if to == "label-tiff" else "masks"), tmp_path / "prototypes"]
    mask, won = (tifffile.imread(next(folder.iterdir())) for folder in folders)
    visit = visit_to(prototype_run, tmp_path, window=32)  # which does not say how it sees slides
    client = asking(visit)
    found = client.post("/api/areas", json={"image": 0, "read": True}).json()[0]
    assert found["read"] and found["whole"] == found["known"] == mask.size
    assert found["pixels"][:2] == [int((mask == c).sum()) for c in range(2)]
    assert found["prototypes"] == [int((won == k).sum()) for k in range(4)]
    told = [area.mm2 for area in result.areas]
    assert [pixels * found["mm2"] for pixels in found["pixels"][:2]] == pytest.approx(told)
    square = [[40, 40], [140, 40], [140, 150], [40, 150]]
    part = client.post("/api/areas", json={"image": 0, "read": True, "polygon": square}).json()[0]
    assert part["whole"] * part["mm2"] == pytest.approx(100 * 110 * 0.25e-6, rel=0.03)
    edges = [round(at * 0.5 / mpp) for at in (40, 150, 40, 140)]
    inside = mask[edges[0] : edges[1], edges[2] : edges[3]]
    for c in range(2):
        assert abs(part["pixels"][c] - int((inside == c).sum())) <= 2 * sum(inside.shape)
    for x, y in ((50.5, 60.5), (200, 100), (1, 1), (299.9, 199.9)):
        at = client.get(f"/api/images/0/place?x={x}&y={y}&read=true").json()[0]
        row, column = int(y * 0.5 / mpp), int(x * 0.5 / mpp)
        assert at["channel"] == (mask[row, column] if mask[row, column] < 2 else None)
        assert at["prototype"] == (won[row, column] if won[row, column] < 4 else None)
        assert at["probabilities"] is at["gap"] is at["entropy"] is None  # the files do not hold them
    assert client.get("/api/images/0/place?x=301&y=5&read=true").json() == [{}]
    assert (
        "model-mpp" in client.post("/api/areas", json={"image": 0}).json()[0]["reason"]
    )  # nothing can be computed


def test_results_without_a_mask_have_no_areas(
    visit_to: Callable[..., Any],
    asking: Callable[..., TestClient],
    prototype_run: Path,
    slide: Path,
    tmp_path: Path,
) -> None:
    zarr = pytest.importorskip("zarr")
    api.segment_slides(
        prototype_run, [slide], tmp_path, to="zarr,uncertainty", model_mpp=0.5, window=32, device="cpu", workers=0
    )
    client = asking(visit_to(prototype_run, tmp_path, model_mpp=0.5, window=32))
    found = client.post("/api/areas", json={"image": 0, "read": True}).json()[0]
    assert found == {"read": True, "reason": "The results hold no mask of this slide, so areas are not known."}
    at = client.get("/api/images/0/place?x=70&y=50&read=true").json()[0]
    stored = zarr.open_group(str(next((tmp_path / "probabilities").iterdir())), mode="r")["0"][:, 50, 70]
    grey = tifffile.imread(next((tmp_path / "uncertainty").iterdir()))[50, 70]
    assert at["probabilities"] == pytest.approx((stored / 255).tolist(), abs=1e-4)
    assert at["gap"] == pytest.approx(1 - grey / 255, abs=1e-4)
    assert at["holds_mask"] is False and at["channel"] is at["prototype"] is at["entropy"] is None


def test_a_window_is_read_by_the_network_once(opened: tuple[Any, TestClient]) -> None:
    """Neighbouring fields share windows, and edits need none."""
    visit, client = opened
    network, count = visit.runs[0].loaded.model, []
    read = network.read
    network.read = lambda images, *rest: count.append(len(images)) or read(images, *rest)
    client.post("/api/fields", json={"image": 0, "what": "all"})
    assert visit.wait(120)
    seen = visit.runs[0].seen(0)
    places = {place for number in range(20) for place in seen.computer._places(number)}
    assert sum(count) == len(places) * len(visit.runs[0].segmenter.settings.views)
    visit.edit({"pink 1": {"move": "blue"}})
    assert visit.wait(120)
    assert len(visit.runs[0].known(0)) == 20
    assert sum(count) == len(places) * len(visit.runs[0].segmenter.settings.views)


def test_nothing_is_shown_of_a_network_that_computes_no_numbers(opened: tuple[Any, TestClient]) -> None:
    visit, client = opened
    with torch.no_grad():
        visit.runs[0].loaded.model.bank.weight[0] = torch.nan
    client.post("/api/fields", json={"image": 0, "box": [70, 70, 20, 20]})
    assert visit.wait(60)
    assert "values that are no numbers of these images" in visit.runs[0].seen(0).faults[6]
    assert not mask_tile(client, "/layers/0/0/mask/9/0/0")[..., 3].any()

"""A folder of weights of every family trains, goes on, predicts, becomes a graph and segments a slide."""

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pink_and_blue
from interrupted import StopAfter
from lpdseg import api
from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.model.runtime import OnnxNetwork
from small_families import SMALL, save_small

SIDE = 64


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patches of one class each and half of both to train on, and one with its mask."""
    folder = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    for name in ("train", "valid/img", "valid/mask"):
        (folder / name).mkdir(parents=True)
    for number in range(7):
        pixels, mask = pink_and_blue.draw(number, rng, SIDE, 30)
        image = Image.fromarray(pixels)
        if number < 6:
            label = f"{int((mask == 0).any())}{int((mask == 1).any())}"
            image.save(folder / "train" / f"t{number}[{label}].png")
        else:
            image.save(folder / "valid" / "img" / "v.png")
            Image.fromarray(mask).save(folder / "valid" / "mask" / "v.png")
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("family", SMALL)
def test_from_a_folder_of_weights_to_a_slide(
    family: str, patches: Path, small_settings: tuple[str, ...], draw_slide: Callable[..., Path], tmp_path: Path
) -> None:
    weights = save_small(family, tmp_path / "weights", blocks=3)
    changes = (*small_settings, "train.batch=3", "train.epochs=1", "train.validations=1")
    runs = {"whole": tmp_path / "whole", "part": tmp_path / "part"}
    chosen = {"encoder": "auto", "weights": weights, "classes": "pink,blue", "overrides": changes, "device": "cpu"}
    for name, run in runs.items():
        stop = {"reporter": StopAfter(1)} if name == "part" else {}
        assert api.train(patches, run, **chosen, **stop).interrupted is (name == "part")
    assert api.train(patches, runs["part"], resume=True, device="cpu").total == 2
    states = {name: read_state(run, "last") for name, run in runs.items()}
    whole, part = (read_tensors(runs[name], states[name], "weights") for name in runs)
    assert whole.keys() == part.keys() and all(values.equal(part[name]) for name, values in whole.items())

    result = api.segment(runs["part"], patches / "valid" / "img" / "v.png")
    assert result.mask.shape == (SIDE, SIDE)
    facts, difference = api.export_graph(runs["part"], tmp_path / "model.onnx")
    assert facts.scales == 3 and difference < 1e-3
    model, graph = api.load(runs["part"], device="cpu").model, OnnxNetwork(tmp_path / "model.onnx")
    least = facts.stride * -(-SIDE // facts.stride)
    for height, width in ((least, least), (3 * least, 2 * least)):
        images, question = torch.rand(1, 3, height, width), astuple(facts.wanted)
        with torch.no_grad():
            mine, theirs = (network.read(images, *question).maps for network in (model, graph))
        for level, values in mine.items():
            torch.testing.assert_close(values, theirs[level], rtol=1e-3, atol=1e-3)
    slide = draw_slide("s.tiff")
    [done] = api.segment_slides(
        runs["part"], [slide], tmp_path / "out", to="geojson,csv", model_mpp=0.5, workers=0, device="cpu"
    )
    assert (done.status, list((tmp_path / "out").rglob("s.geojson")) != []) == ("segmented", True)

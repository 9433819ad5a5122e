"""Graphs that tell what they are and nothing of the machine, and how to make a mask of what they give."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import lpdseg
from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.data.patches import read_image
from lpdseg.errors import SettingsError
from lpdseg.model.graph import write_graph
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.edited import edited
from lpdseg.segmenting.loading import TrainedOn
from lpdseg.segmenting.recipe import RECIPE, recipe
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses

ROOT = Path(__file__).parents[2]
CLASSES = TissueClasses(("a", "b"), indices=(3, 7), background=1)


@pytest.fixture(scope="module")
def documented() -> ModuleType:
    """The code of the documentation."""
    text = (ROOT / "docs" / "how-to" / "onnx.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert set(re.findall(r"^import (\S+)", code, re.MULTILINE)) == {"json", "numpy", "onnxruntime"}
    assert "lpdseg." not in code and "from " not in code.replace("from the", "")
    module = ModuleType("documented")
    exec(compile(code, "onnx.md", "exec"), module.__dict__)
    return module


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Tissue of two colours beside glass."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, (height // 9 + 1, width // 9 + 1)).repeat(9, 0).repeat(9, 1)[:height, :width]
    pixels = np.array([[230, 120, 170], [80, 70, 160]])[coarse] + rng.integers(-25, 25, (height, width, 3))
    pixels[:, : width // 3] = rng.integers(244, 250, (height, width // 3, 3))
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("head", "changes", "said"),
    [
        (0, {"background": "glass"}, None),
        (0, {"background": "power", "gate": "predicted", "views": ("plain",), "merge": "mean"}, None),
        (0, {"background": "none", "gate": "none", "views": ("plain", "flip_dark", "bright")}, None),
        (8, {"background": "glass"}, None),
        (8, {"background": "none", "gate": "none"}, None),
        (8, {"background": "glass"}, "a 1: {move: b}\nb 1: {move: background}"),
        (8, {"background": "power", "gate": "predicted"}, "a 1: {hide: true}\nb 1: {move: a}\na 2: {merge: b 1}"),
        (8, {"background": "none", "gate": "none"}, "a 1: {move: b, name: odd}"),
        (8, {"background": "none", "gate": "predicted"}, "b 1: {hide: true}\nb 3: {hide: true}"),
    ],
)
def test_the_documented_recipe_makes_the_same_mask(
    head: int,
    changes: dict[str, Any],
    said: str | None,
    tiny_lpd: Callable[..., Any],
    documented: ModuleType,
    tmp_path: Path,
) -> None:
    settings = PredictSettings(fusion=(0.0, 0.4, 0.6), refine="none", temperature=0.3).model_copy(update=changes)
    chosen = Calibration(torch.tensor([0.45, 0.52]), torch.tensor([0.1, -0.2]))
    network = tiny_lpd(head=head).eval()
    network.bank.weight.data.mul_(50)  # prototypes that differ
    if head:
        network.head.live[3] = False
        network.head.cosine.log_scale.data.zero_()  # or pixels between two that are sure are ties
    segmenter = Segmenter(network, CLASSES, settings, chosen, (0.0, 0.1, 1.0), "mean")
    if said is not None:
        (tmp_path / "edits.yaml").write_text(said)
        segmenter = edited(segmenter, tmp_path / "edits.yaml")
    told = recipe(segmenter, TrainedOn(0.5, (224, 224)), "For research.")
    metadata = {RECIPE: documented.json.dumps(told)}
    write_graph(segmenter.model, segmenter.wanted, tmp_path / "x.onnx", metadata)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    seen, told_of = set(), set()
    for number, (height, width) in enumerate([(48, 64), (41, 75), (7, 90)]):
        image = picture(height, width, number)
        whole = segmenter.segment(image)
        expected = whole.mask
        found, won = documented.segment(session, image)
        if whole.prototypes is None:
            assert won is None and not head
        else:
            assert won.dtype == np.uint16 and (won == whole.prototypes).mean() > 0.999
            told_of |= set(np.unique(won).tolist())
        assert found.dtype == np.uint8 and found.shape == expected.shape
        assert (found == expected).mean() > 0.999
        seen |= set(np.unique(expected).tolist())
    if said is None:
        assert len(seen) > 1 and (not head or (len(told_of) > 2 and 3 not in told_of))  # else nothing was compared
    else:
        assert len(seen) + len(told_of) > 2 and 3 not in told_of


def test_an_exported_run_is_edited_as_segment_edits_it(
    prototype_run: Path, small_data: Path, documented: ModuleType, tmp_path: Path
) -> None:
    edits, graph, out = tmp_path / "edits.yaml", tmp_path / "model.onnx", tmp_path / "out"
    edits.write_text("pink 1: {move: blue, name: odd}\nblue 2: {hide: true}\n")
    assert main(["export", str(prototype_run), "--out", str(graph), "--edits", str(edits)]) == 0
    words = ["segment", str(prototype_run), str(small_data / "valid" / "img"), "--out", str(out), "--prototypes"]
    assert main([*words, "--edits", str(edits), "--device", "cpu"]) == 0
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    told = documented.json.loads(session.get_modelmeta().custom_metadata_map[RECIPE])
    digest = documented.json.loads((out / "segment.json").read_text())["edits_sha256"]
    assert told["edits_sha256"] == digest and f"edits {digest[:12]}" in told["about"]
    assert told["prototypes"][0] == "blue odd"
    paths = sorted((small_data / "valid" / "img").iterdir())
    for path in paths:
        mask, prototypes = documented.segment(session, read_image(path))
        for values, folder in ((mask, "masks"), (prototypes, "prototypes")):
            with Image.open(out / folder / path.name) as wanted:
                assert (values == np.asarray(wanted)).mean() > 0.999
    assert len(paths) == 4
    words = ["export", str(prototype_run), "--int8", str(small_data), "--edits", str(edits)]
    assert main(words) == SettingsError.exit_code


def test_an_exported_run_makes_its_masks_from_the_file_alone(
    small_run: Path, small_data: Path, documented: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    api.export_graph(small_run, path)
    segmenter = api.load(small_run, device="cpu")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = documented.json.loads(session.get_modelmeta().custom_metadata_map[RECIPE])
    assert told["classes"] == segmenter.classes.as_dict() and told["patch"] == [32, 32]
    assert told["about"].startswith("For research only, not for diagnosis.")
    for image in (picture(32, 32), picture(70, 50, 1)):
        mask, prototypes = documented.segment(session, image)
        assert (mask == segmenter.segment(image).mask).mean() > 0.999 and prototypes is None
    model = onnx.load(path)
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert axes["images"] == ["batch", 3, "height", "width"]
    assert axes["map_2"] == ["batch", 2, "height_2", "width_2"] and axes["logits_1"] == ["batch", 2]
    inner = [axis.dim_param for value in model.graph.value_info for axis in value.type.tensor_type.shape.dim]
    assert "batch" in inner and not [name for name in inner if re.search(r"\bs\d+\b", name)]
    told_of_machine = {
        str(tmp_path), str(small_run), str(Path.home()) + os.sep, str(Path(lpdseg.__file__).parent),
        str(Path(torch.__file__).parent), "stack_trace", "site-packages", "insert_deferred",
        *(name for name in [socket.gethostname()] if len(name) > 5),
    }  # fmt: skip
    assert [one for one in told_of_machine if one.encode() in path.read_bytes()] == []

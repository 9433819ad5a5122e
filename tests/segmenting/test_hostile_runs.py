"""Runs by strangers: whatever a checkpoint says, it is loaded and segments, or is refused in a sentence."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from changing import mutated
from lpdseg.checkpoint import save_checkpoint
from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.methods.table import METHODS
from lpdseg.model.encoder import Encoder
from lpdseg.segmenting.loading import about, load_segmenter, trained_on, weights_digest
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses

ENCODER: dict[str, Any] = {
    "backbone": {
        "model_type": "resnet", "depths": [1, 1, 1], "hidden_sizes": [8, 8, 16], "embedding_size": 8,
        "layer_type": "basic", "out_features": ["stage1", "stage2", "stage3"],
    },
    "mean": [0.5] * 3, "std": [0.25] * 3, "freeze_norm": False, "last_stride": None, "tune": "all",
}  # fmt: skip
SMALL = ("model.prototypes=2", "model.prototype_dim=8", "model.hidden_dim=8", "model.head_width=8")
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of random weights."""
    folder, classes = tmp_path_factory.mktemp("strangers") / "run", TissueClasses(("a", "b"), background=2)
    settings = load_settings(None, SMALL)
    torch.manual_seed(0)
    network: Any = METHODS["lpd"].network(Encoder.from_config(ENCODER), settings, 2)
    state = {
        "step": 3, "steps": 3, "seconds": 1.0, "best": 50.0, "thresholds": [0.5, 0.5], "offsets": [0.0, 0.0],
        "temperature": 1.2, "valid": None, "classes": classes.as_dict(), "encoder": network.encoder.config,
        "settings": settings.model_dump(mode="json"), "data": "0123456789abcdef", "mpp": 0.5, "patch": [32, 32],
        "corrected": None, "chunk": None, "waited": 0.0, "calibrated": 3,
    }  # fmt: skip
    weights = {f"model.{name}": values for name, values in network.state_dict().items()}
    save_checkpoint(folder, "best", state, weights, None)
    return folder


def enter(run: Path) -> None:
    """By every way in that segmenting has."""
    about(run), trained_on(run), weights_digest(run)
    found = load_segmenter(run, device="cpu").segment(IMAGE)
    assert found.mask.shape == (32, 32)
    assert np.isfinite(found.probabilities).all()


def state_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "checkpoints" / "best.json").read_text())
    return found


def changed(run: Path, out: Path, state: Any) -> Path:
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    for path in (run / "checkpoints").glob("*.safetensors"):
        (out / "checkpoints" / path.name).write_bytes(path.read_bytes())
    (out / "checkpoints" / "best.json").write_text(json.dumps(state))
    return out


def refusal(run: Path) -> str:
    with pytest.raises(LpdsegError) as caught:
        enter(run)
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 500
    return text


def test_what_was_written_is_loaded(run: Path) -> None:
    enter(run)


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("backbone", "hidden_sizes", [8, 8, 10**12], "numbers are finite and at most"),
        ("backbone", "hidden_sizes", [1 << 20] * 3, "values, but its files hold"),
        ("backbone", "hidden_sizes", [8, 8, 24], "do not fit its settings"),
        ("backbone", "depths", [10**9, 1, 1], "and at most"), ("backbone", "depths", [9999, 1, 1], "400 blocks"),
        ("backbone", "depth", 400.0, "400 blocks"),
        ("backbone", "model_type", "brought", "cannot be the encoder"), ("backbone", "model_type", 5, "no network"),
        ("backbone", "auto_map", {"AutoConfig": "x.y"}, ""), ("backbone", "_attn_implementation", "lab/kernel", ""),
        ("backbone", "num_labels", 10**12, ""), ("backbone", "hidden_act", "x" * 10**5, "no network can be built"),
        ("model", "hidden_dim", 10**12, "hidden_dim"), ("model", "hidden_dim", 1 << 14, "do not fit its settings"),
        ("model", "prototypes", 999, "do not fit its settings"), ("model", "prototype_dim", 1 << 14, "do not fit"),
    ],
)  # fmt: skip
def test_sizes_that_are_not_those_of_the_weights(
    section: str, name: str, value: Any, words: str, run: Path, tmp_path: Path
) -> None:
    state = state_of(run)
    (state["encoder"] if section == "backbone" else state["settings"])[section][name] = value
    if words:
        assert words in refusal(changed(run, tmp_path, state))
    else:  # no size, and nothing is made of it
        enter(changed(run, tmp_path, state))


@pytest.mark.parametrize("kind", ["nan", "shape", "missing", "more", "gone", "huge", "eighth", "complex", "whole"])
def test_weights_that_are_not_those_described(kind: str, run: Path, tmp_path: Path) -> None:
    out = changed(run, tmp_path, state_of(run))
    (path,) = (out / "checkpoints").glob("weights-*")
    tensors = load_file(path)
    name = next(key for key, values in tensors.items() if values.ndim == 4)
    match kind:
        case "nan":
            tensors[name][0, 0, 0, 0] = math.nan
        case "shape":
            tensors[name] = tensors[name][:1].clone()
        case "missing":
            del tensors[name]
        case "more":
            tensors["model.more"] = torch.ones(1)
        case "huge":
            tensors = {
                key: values.abs() * 1e20 if values.is_floating_point() else values
                for key, values in tensors.items()
            }
        case "eighth" | "complex" | "whole":
            kinds = {"eighth": torch.float8_e4m3fn, "complex": torch.complex64, "whole": torch.int32}
            tensors[name] = tensors[name].to(kinds[kind])
    save_file(tensors, path)
    if kind == "gone":
        path.unlink()
    words = {
        "nan": "train again", "gone": "restore the file", "huge": "computes values that are no numbers",
        "eighth": "is float8_e4m3fn, and", "complex": "is complex64, and", "whole": "is int32, and",
    }  # fmt: skip
    assert words.get(kind, "do not fit its settings") in refusal(out)


def test_weights_of_half_the_bytes_are_loaded(run: Path, tmp_path: Path) -> None:
    out = changed(run, tmp_path, state_of(run))
    (path,) = (out / "checkpoints").glob("weights-*")
    save_file({key: one.half() if one.is_floating_point() else one for key, one in load_file(path).items()}, path)
    enter(out)


@given(data=st.data())
def test_any_change_of_a_description_gives_masks_or_a_sentence(
    data: st.DataObject, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = data.draw(mutated(state_of(run)))
    try:
        enter(changed(run, tmp_path_factory.mktemp("changed"), state))
    except LpdsegError as error:
        assert "\n" not in str(error) and len(str(error)) <= 500 and str(error).encode()


def test_a_run_that_is_no_folder_and_a_state_that_is_no_state(run: Path, tmp_path: Path) -> None:
    for state in ([], 5, None, "x", {"format": 1}):
        assert "best.json" in refusal(changed(run, tmp_path, state))
    with pytest.raises(CheckpointError):
        load_segmenter(tmp_path / "nowhere")

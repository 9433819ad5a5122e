"""Weights of the families that cannot be used: one sentence each, and never code of theirs."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lpdseg.errors import WeightsError
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import build_image_encoder
from small_families import SMALL, save_small

VITS = ["dinov2", "dinov2_with_registers", "dinov3_vit", "vit"]


def refused(name: str, weights: str) -> str:
    with pytest.raises(WeightsError) as caught:
        build_encoder(name, weights)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 500
    return sentence


@pytest.mark.parametrize("family", sorted(set(SMALL) - {"dinov2"}))
def test_weights_of_another_family(family: str, tmp_path: Path) -> None:
    sentence = refused("dinov2_small", save_small(family, tmp_path))
    assert f"weights of a {family!r} network" in sentence and "--encoder auto" in sentence


@pytest.mark.parametrize("family", SMALL)
def test_no_numbers_and_missing_parameters(family: str, tmp_path: Path) -> None:
    folder = save_small(family, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    name = next(key for key, values in state.items() if values.ndim == 4)
    state[name][0, 0, 0, 0] = torch.inf
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "holds values that are no numbers (NaN or infinite) in " in refused("auto", folder)
    del state[name]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 parameters of the encoder (the first is " in refused("auto", folder)


@pytest.mark.parametrize("family", VITS)
def test_a_token_for_hidden_patches_may_be_missing(family: str, tmp_path: Path) -> None:
    folder = save_small(family, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    kept = {key: values for key, values in state.items() if not key.endswith("mask_token")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with torch.no_grad():
        assert torch.isfinite(build_encoder("auto", folder).eval()(torch.rand(1, 3, 64, 64))[-1]).all()


@pytest.mark.parametrize(
    "family, name, value",
    [
        ("resnet", "layer_type", "x"), ("resnet", "depths", "x"), ("resnet", "hidden_sizes", [8, 12]),
        ("dinov2", "num_hidden_layers", "12"), ("dinov2", "patch_size", 0), ("vit", "num_attention_heads", 0),
        ("swin", "depths", None),
    ],
)  # fmt: skip
def test_numbers_that_make_no_network(family: str, name: str, value: Any, tmp_path: Path) -> None:
    folder = save_small(family, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert f"no network can be built from the config.json of {folder} (" in refused("auto", folder)


def close(monkeypatch: pytest.MonkeyPatch, cause: BaseException) -> None:
    """The hub answers every request with an error."""

    def answer(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", answer)


def test_a_gated_id_says_how_to_get_access(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    error = GatedRepoError.__new__(GatedRepoError)
    Exception.__init__(error, "401")
    error.response = SimpleNamespace()  # type: ignore[assignment]
    close(monkeypatch, error)
    assert "lab/net is gated: ask for access on its page" in refused("dinov3_vit_small", "lab/net")
    with pytest.raises(WeightsError, match=r"hf:lab/net: lab/net is gated: .* 'hf auth login' or set HF_TOKEN"):
        build_image_encoder("hf:lab/net", build_encoder("resnet18", stages=3))


@pytest.mark.parametrize("name", ["dinov2_small", "dinov3_convnext_tiny", "auto"])
def test_an_id_while_offline(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "go online once, or name a folder that has them" in refused(name, "lab/net")


def test_a_hub_that_does_not_answer_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(*_: Any, **__: Any) -> None:
        logger.warning("thrown while requesting HEAD")
        raise OSError("no answer")

    logger = logging.getLogger("huggingface_hub.utils._http")
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", answer)
    before = logger.getEffectiveLevel()
    assert "cannot get weights 'lab/net'" in refused("auto", "lab/net")
    assert not caplog.records and logger.getEffectiveLevel() == before

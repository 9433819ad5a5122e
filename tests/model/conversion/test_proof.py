"""Comparison with timm, played by a library of one network, where the real one is not installed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from plain_networks import resnet_features, resnet_tensors, vit_features, vit_tensors
from safetensors.torch import save_file
from torch import Tensor, nn

from lpdseg.errors import WeightsError
from lpdseg.model.conversion import proof
from lpdseg.model.conversion.convert import convert

Timm = Callable[[Callable[[dict[str, Tensor], Tensor], Tensor], int], list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> Timm:
    """Installs a timm whose networks give what a function makes of tensors and an image; returns what was built."""

    def install(
        give: Callable[[dict[str, Tensor], Tensor], Tensor], prefix: int
    ) -> list[tuple[str, dict[str, Any]]]:
        built: list[tuple[str, dict[str, Any]]] = []

        class Network(nn.Module):
            num_prefix_tokens = prefix

            def load_state_dict(self, tensors: Any, *_: Any, **__: Any) -> None:  # type: ignore[override]
                self.tensors = tensors

            def forward_features(self, images: Tensor) -> Tensor:
                return give(self.tensors, images)

        def create_model(name: str, **options: Any) -> Network:
            built.append((name, options))
            if name == "unknown":
                raise RuntimeError("Unknown model")
            return Network()

        library = SimpleNamespace(create_model=create_model, layers=SimpleNamespace(SwiGLUPacked="packed"))
        monkeypatch.setitem(sys.modules, "timm", library)
        monkeypatch.setattr(proof, "find_spec", lambda _: library)
        real = proof.version_of
        monkeypatch.setattr(proof, "version_of", lambda name: "9.9" if name == "timm" else real(name))
        return built

    return install


def tokens(prefix: int) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    def give(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
        patches = vit_features(tensors, images, heads=4)
        return torch.cat([torch.full((prefix, patches.shape[1]), 1e9), patches])[None]

    return give


def source(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> str:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_equal_features_are_the_proof(timm: Timm, tmp_path: Path) -> None:
    built = timm(tokens(3), 3)
    tensors = vit_tensors(registers=2, swiglu=True, hidden=88)
    done = convert(source(tmp_path / "in", tensors), tmp_path / "out", heads=4)
    assert "features differ from those of timm 9.9 by at most" in done.record["proof"]["how"]
    ((name, options),) = built
    assert name == "vit_base_patch16_224" and options["num_classes"] == 0 and options["mlp_layer"] == "packed"
    assert {key: options[key] for key in ("img_size", "depth", "num_heads", "reg_tokens", "no_embed_class")} == {
        "img_size": 24, "depth": 3, "num_heads": 4, "reg_tokens": 2, "no_embed_class": False,
    }  # fmt: skip
    assert int(32 * options["mlp_ratio"]) == 2 * 88


def test_other_features_are_refused(timm: Timm, tmp_path: Path) -> None:
    timm(tokens(1), 1)
    weights = source(tmp_path / "in", vit_tensors())
    with pytest.raises(WeightsError, match=r"differ from timm's by .*nothing is written; see whether --heads"):
        convert(weights, tmp_path / "out", heads=2)
    assert not (tmp_path / "out").exists()


def test_the_named_architecture_comes_first(timm: Timm, tmp_path: Path) -> None:
    built = timm(tokens(1), 1)
    config = {"architecture": "vit_small", "model_args": {"init_values": 1e-5, "num_heads": 4}}
    convert(source(tmp_path / "in", vit_tensors(), config), tmp_path / "out")
    assert built == [
        ("vit_small", {"pretrained": False, "img_size": 24, "init_values": 1e-5, "num_heads": 4, "num_classes": 0})
    ]
    built.clear()
    config["architecture"] = "unknown"
    done = convert(source(tmp_path / "other", vit_tensors(), config), tmp_path / "out2")
    assert [name for name, _ in built] == ["unknown", "vit_base_patch16_224"]
    assert "features differ from" in done.record["proof"]["how"]


def test_resnets(timm: Timm, tmp_path: Path) -> None:
    built = timm(lambda tensors, images: resnet_features(tensors, images)[-1], 0)
    done = convert(source(tmp_path / "in", resnet_tensors((1, 2, 1), bottleneck=True)), tmp_path / "out")
    assert "features differ from" in done.record["proof"]["how"]
    expected = {"pretrained": False, "layers": [1, 2, 1], "channels": [8, 16, 32], "num_classes": 0}
    assert built == [("resnet50", expected)]


def test_what_timm_does_not_build_is_said(timm: Timm, tmp_path: Path) -> None:
    def fail(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
        raise AssertionError

    timm(fail, 0)
    sys.modules["timm"].create_model = lambda *_, **__: (_ for _ in ()).throw(TypeError())  # type: ignore[attr-defined]
    done = convert(source(tmp_path / "in", resnet_tensors((1, 1, 1))), tmp_path / "out")
    assert "timm did not build the network" in done.record["proof"]["how"]


def test_a_timm_that_does_not_start(timm: Timm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm(tokens(1), 1)
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails
    done = convert(source(tmp_path / "in", vit_tensors()), tmp_path / "out", heads=4)
    assert "timm did not build the network" in done.record["proof"]["how"]

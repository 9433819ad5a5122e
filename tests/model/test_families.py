"""Every family that can be an encoder, in networks small enough to build in a moment."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from lpdseg.errors import SettingsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.model.families import FAMILIES
from small_families import SMALL, save_small

WIDTHS = {
    "focalnet": [8, 16, 32, 64],
    "swin": [8, 16, 32, 64],
    "swinv2": [8, 16, 32, 64],
}
HALTED = {"pvt_v2", "segformer"}  # their last stage has stride 1


def features(encoder: Encoder, side: int = 64) -> list[Tensor]:
    with torch.no_grad():
        return encoder.eval()(images(side))


def test_every_family_is_tried() -> None:
    assert {*SMALL, "efficientnet_lite"} == set(FAMILIES)


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize("family", SMALL)
def test_strides_and_widths_of_every_scale(family: str, stages: int, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path), stages=stages)
    found = features(encoder)
    strides = [4, 8, 16, 32][:stages]
    if family in HALTED:
        strides[-1] = strides[-2]
    assert [64 // part.shape[-1] for part in found] == strides
    assert [64 // part.shape[-2] for part in found] == strides
    assert encoder.stride == strides[-1]
    assert [part.shape[1] for part in found] == list(encoder.widths) == WIDTHS.get(family, [8, 12, 16, 24])[:stages]


def images(side: int = 64) -> Tensor:
    torch.manual_seed(5)
    return torch.rand(2, 3, side, side)


# The others' backbones add a norm to every scale, or their last stride is another here.
@pytest.mark.parametrize("family", ["dinov3_convnext", "focalnet", "hgnet_v2", "resnet", "swinv2"])
def test_the_coarsest_scale_is_what_the_whole_network_makes(family: str, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path))
    network = getattr(transformers, SMALL[family][0]).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        found = network((images() - encoder.mean) / encoder.std, output_hidden_states=True)
    states = found.get("reshaped_hidden_states") or found.hidden_states
    torch.testing.assert_close(features(encoder)[-1], states[-1])


def test_focalnet_gives_what_is_there_before_each_downsampling(tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small("focalnet", tmp_path))
    network: Any = transformers.FocalNetModel.from_pretrained(tmp_path).eval()
    seen: list[Tensor] = []
    for stage in network.encoder.stages:
        stage.layers[-1].register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.no_grad():
        network((images() - encoder.mean) / encoder.std)
    for mine, theirs in zip(features(encoder), seen, strict=True):
        torch.testing.assert_close(mine.flatten(2).transpose(1, 2), theirs)


@pytest.mark.parametrize("family", SMALL)
def test_the_configuration_builds_the_same_again(family: str, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path), stages=3)
    again = Encoder.from_config(json.loads(json.dumps(encoder.config)))
    assert again.config == encoder.config
    again.load_state_dict(encoder.state_dict())
    for mine, theirs in zip(features(encoder), features(again), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("family", SMALL)
def test_sides_that_are_no_multiples_show_as_much_as_they_are(family: str, tmp_path: Path) -> None:
    found = features(build_encoder("auto", save_small(family, tmp_path)), side=100)
    assert [part.shape[-1] for part in found][:3] == [25, 13, 7]


@pytest.mark.parametrize("tune", ["norm", "last_blocks", "none", "all"])
@pytest.mark.parametrize("family", SMALL)
def test_what_learns(family: str, tune: Any, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path), tune=tune)
    learning = {name for name, values in encoder.backbone.named_parameters() if values.requires_grad}
    every = {name for name, _ in encoder.backbone.named_parameters()}
    norms = {
        f"{name}.{part}"
        for name, module in encoder.backbone.named_modules()
        for part, values in module.named_parameters(recurse=False)
        if part in {"weight", "bias"} and values.ndim == 1 and "norm" in type(module).__name__.lower()
    }
    if tune == "norm":
        assert learning == norms != set()
    elif tune == "last_blocks":
        values = [values for values in encoder.backbone.parameters() if values.requires_grad]
        reached = torch.autograd.grad(encoder(images())[-1].sum(), values, allow_unused=True)
        assert 0 < len(values) < len(every)
        assert all(part is not None for part in reached)
    else:
        assert learning == (every if tune == "all" else set())


@pytest.mark.parametrize("family", SMALL)
def test_a_stride_that_cannot_be_set_is_an_error(family: str, tmp_path: Path) -> None:
    folder = save_small(family, tmp_path)
    if FAMILIES[family].halts:
        assert build_encoder("auto", folder, last_stride=1).stride == 16
    else:
        with pytest.raises(SettingsError, match=r"model\.last_stride cannot be set for 'auto'"):
            build_encoder("auto", folder, last_stride=1)

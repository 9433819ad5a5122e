"""Every family that can be an encoder, in networks small enough to build in a moment."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.model.families import FAMILIES
from small_families import SMALL, save_small

PLAIN = {"dinov2": 14, "dinov2_with_registers": 16, "dinov3_vit": 16, "vit": 16}
"""Sides of their patches."""
WIDTHS = {
    **{family: [64, 128, 16, 16] for family in PLAIN},
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
    strides = [4, 8, *[PLAIN[family]] * 2] if family in PLAIN else [4, 8, 16, 16 if family in HALTED else 32]
    if family in HALTED and stages == 3:
        strides[2] = 8
    side = 112 if family == "dinov2" else 64
    found = features(encoder, side)
    assert [tuple(part.shape[2:]) for part in found] == [(side // stride,) * 2 for stride in strides[:stages]]
    assert encoder.stride == math.lcm(*strides[:stages])
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
    assert [part.shape[-1] for part in found][:3] == [25, 13, 8 if family == "dinov2" else 7]


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
        with pytest.raises(SettingsError, match=r"model\.last_stride cannot be set for a "):
            build_encoder("auto", folder, last_stride=1)


@pytest.mark.parametrize("family", PLAIN)
def test_tokens_of_evenly_spaced_blocks_come_without_class_and_registers(family: str, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path), stages=3)
    assert getattr(encoder.backbone.config, "_attn_implementation", None) == "sdpa"
    side, blocks = PLAIN[family], [1, 3, 4]
    network: Any = getattr(transformers, SMALL[family][0]).from_pretrained(tmp_path).eval()
    network = getattr(network, "vit", network)
    pixels = (images(112) - encoder.mean) / encoder.std
    options = {"interpolate_pos_encoding": True} if family == "vit" else {}
    norm = network.norm if family == "dinov3_vit" else network.layernorm
    with torch.no_grad():
        states = network(pixels, output_hidden_states=True, **options).hidden_states
        found = encoder.encode(images(112))
        for tokens, block in zip(found, blocks, strict=True):
            last = norm(states[block])[:, -((112 // side) ** 2) :]
            torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), last)
            assert tokens.shape[-2:] == (112 // side,) * 2


@pytest.mark.parametrize("family", PLAIN)
def test_plain_vits_are_frozen_unless_told_otherwise_and_their_adapters_learn(family: str, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path))
    assert encoder.tune == "none" and encoder.frozen and encoder.needs_images
    assert not any(values.requires_grad for values in encoder.backbone.parameters())
    assert all(values.requires_grad for values in encoder.adapter.parameters())
    encoder.train()
    sum(part.square().mean() for part in encoder(images())).backward()
    assert all(values.grad is not None and values.grad.any() for values in encoder.adapter.parameters())
    tuned = build_encoder("auto", str(tmp_path), tune="last_blocks")
    learning = {name for name, values in tuned.backbone.named_parameters() if values.requires_grad}
    numbers = {part for name in learning for part in name.split(".") if part.isdigit()}
    assert numbers == {"2", "3"} and any(name.startswith(("layernorm.", "norm.")) for name in learning)


def test_a_patch_side_that_does_not_fit_is_told(tmp_path: Path) -> None:
    network = transformers.Dinov2Model(transformers.Dinov2Config(**SMALL["dinov2"][1] | {"patch_size": 40}))
    network.save_pretrained(tmp_path)
    encoder = build_encoder("auto", str(tmp_path))
    assert [part.shape[-1] for part in features(encoder, 80)] == [20, 10, 2, 2]
    with pytest.raises(SettingsError, match=r"makes 1 x 1 tokens .* side of 40 px.* more than 40 px"):
        encoder(images(32))


def test_weights_of_fewer_blocks_than_scales(tmp_path: Path) -> None:
    config = transformers.ViTConfig(**SMALL["vit"][1] | {"num_hidden_layers": 3})
    transformers.ViTModel(config).save_pretrained(tmp_path)
    assert build_encoder("auto", str(tmp_path)).widths == (64, 128, 16)
    with pytest.raises(WeightsError, match=r"has 3 stages, but model\.stages asks for 4"):
        build_encoder("auto", str(tmp_path), stages=4)
    with pytest.raises(WeightsError, match="of 2 blocks is too small; take one of three or more"):
        build_encoder("auto", save_small("dinov2", tmp_path / "two", blocks=2))


@pytest.mark.parametrize("window", [3, 4, 7, 8, 12, 16, 24])
@pytest.mark.parametrize("stages", [3, 4])
def test_graphs_of_windows_are_made_from_many_and_ragged_ones(window: int, stages: int) -> None:
    """What a graph is made from decides which branches it has: whether windows are filled up, and whether many."""
    config = transformers.SwinConfig(window_size=window)
    stride = 4 * 2 ** (stages - 1)
    sides = FAMILIES["swin"].example(config, stride)
    for level in range(stages):
        tokens = [side // (4 * 2**level) for side in sides]
        assert all(count > window for count in tokens)
        ragged = any(count % window for count in tokens)
        assert ragged or all(times * stride // (4 * 2**level) % window == 0 for times in range(1, 50))

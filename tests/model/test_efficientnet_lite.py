import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.model.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig, from_published
from lpdseg.model.encoders import build_encoder

LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}


def same(values: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """TensorFlow's "same" convolution as its documentation defines it, for any side."""
    pads = []
    for axis in (-1, -2):
        kernel, side = weight.shape[axis], values.shape[axis]
        whole = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        pads += [whole // 2, whole - whole // 2]
    return F.conv2d(F.pad(values, pads), weight, stride=stride, groups=groups)


def plainly(state: dict[str, Tensor], strides: list[int], pixels: Tensor) -> list[Tensor]:
    """The network once more, from the names of its tensors alone; every block's output."""

    def normed(values: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / (var + 1e-3).sqrt()
        return values * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    values = normed(same(pixels, state["stem.0.weight"], 2), "stem.1").clamp(0, 6)
    found = []
    for number, stride in enumerate(strides):
        name, inner = f"blocks.{number}", values
        if f"{name}.expand.0.weight" in state:
            inner = normed(F.conv2d(inner, state[f"{name}.expand.0.weight"]), f"{name}.expand.1").clamp(0, 6)
        inner = same(inner, state[f"{name}.depthwise.0.weight"], stride, inner.shape[1])
        inner = normed(inner, f"{name}.depthwise.1").clamp(0, 6)
        inner = normed(F.conv2d(inner, state[f"{name}.project.0.weight"]), f"{name}.project.1")
        values = inner + values if stride == 1 and inner.shape == values.shape else inner
        found.append(values)
    return found


def disturbed(network: nn.Module) -> nn.Module:
    """Statistics and scales as of a trained network, so that nothing cancels out."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize("size", LITE)
def test_the_network_is_that_of_the_papers(size: int) -> None:
    torch.manual_seed(size)
    width, depth = LITE[size]
    network = disturbed(EfficientNetLite(EfficientNetLiteConfig(width, depth)))
    counts = [1, *(math.ceil(count * depth) for count in (2, 2, 3, 3, 4)), 1]
    strides = [
        first if index == 0 else 1
        for first, count in zip((1, 2, 2, 2, 1, 2, 1), counts, strict=True)
        for index in range(count)
    ]
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = plainly(network.state_dict(), strides, pixels)
        found = network(pixels)
    ends = np.cumsum(counts)[[1, 2, 4, 6]] - 1
    assert [values.shape[-1] for values in found] == [24, 12, 6, 3]
    for values, end in zip(found, ends, strict=True):
        torch.testing.assert_close(values, expected[end])


def test_the_last_stage_can_keep_the_resolution() -> None:
    torch.manual_seed(0)
    whole = disturbed(EfficientNetLite(EfficientNetLiteConfig(stages=3)))
    halted = EfficientNetLite(EfficientNetLiteConfig(stages=3, last_stride=1)).eval()
    halted.load_state_dict(whole.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    assert [values.shape[-1] for values in halted(pixels)] == [16, 8, 8]
    for mine, theirs in zip(halted(pixels)[:2], whole(pixels)[:2], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_published_names_become_ours_and_the_classifier_is_left_out() -> None:
    tensor = torch.zeros(1)
    published = dict.fromkeys(
        [
            "_conv_stem.weight",
            "_bn0.bias",
            "_blocks.11._expand_conv.weight",
            "_blocks.3._bn0.running_var",
            "_blocks.3._depthwise_conv.weight",
            "_blocks.3._bn1.weight",
            "_blocks.3._project_conv.weight",
            "_blocks.3._bn2.num_batches_tracked",
            "_conv_head.weight",
            "_bn1.weight",
            "_fc.bias",
        ],
        tensor,
    )
    wanted = EfficientNetLite(EfficientNetLiteConfig()).state_dict()
    assert sorted(from_published(published, wanted)) == [
        "blocks.11.expand.0.weight",
        "blocks.3.depthwise.0.weight",
        "blocks.3.depthwise.1.weight",
        "blocks.3.expand.1.running_var",
        "blocks.3.project.0.weight",
        "blocks.3.project.1.num_batches_tracked",
        "stem.0.weight",
        "stem.1.bias",
    ]


@pytest.mark.parametrize("side", [112, 100, 40])
def test_sides_that_are_no_multiples_of_the_stride_are_mirrored_and_the_edge_is_dropped(side: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("efficientnet_lite0", None).eval()
    images = torch.rand(1, 3, side, side)
    padded = torch.cat([images, images.flip(-1)[..., : -side % 32]], -1)
    padded = torch.cat([padded, padded.flip(-2)[..., : -side % 32, :]], -2)
    with torch.no_grad():
        found, whole = encoder(images), encoder(padded)
    assert [values.shape[-1] for values in found] == [math.ceil(side / stride) for stride in (4, 8, 16, 32)]
    for values, more in zip(found, whole, strict=True):
        torch.testing.assert_close(values, more[..., : values.shape[-2], : values.shape[-1]])


@pytest.mark.parametrize(("stages", "last_stride", "stride"), [(4, None, 32), (3, None, 16), (3, 1, 8), (4, 1, 16)])
def test_the_stride_is_that_of_the_coarsest_scale(stages: int, last_stride: int | None, stride: int) -> None:
    encoder = build_encoder("efficientnet_lite0", None, stages=stages, last_stride=last_stride)
    assert encoder.stride == stride
    assert encoder(torch.rand(1, 3, 64, 64))[-1].shape[-1] == 64 // stride
    again = type(encoder).from_config(encoder.config)
    assert again.config == encoder.config and again.stride == stride

"""Plain vision transformers: tokens of one size throughout, of which an adapter makes scales.

B images, p the side of a patch of the network, D its width; h x w tokens of an image, without class and registers.
"""

import math
from types import MethodType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.choices import Tuning
from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model.encoder_kinds import Adapter, Kind
from lpdseg.model.pyramid import FINE, Pyramid
from lpdseg.quiet import library

_BLOCKS_TUNED = 2
_LEAST = 2  # tokens along a side


class PlainVit(Kind):
    """DINOv2 without and with registers, and DINOv3, which have backbones in `transformers`.

    The outputs are as many evenly spaced blocks as there are scales, the last block among them.
    """

    whole = True
    tuning: Tuning = "none"

    def scales(self, config: Any) -> int:
        """See `Kind`."""
        blocks = int(config.num_hidden_layers)
        if blocks <= len(FINE):
            raise WeightsError(f"a vision transformer of {blocks} blocks is too small; take one of three or more")
        return min(4, blocks)

    def cut(self, config: Any, stages: int | None, last_stride: int | None) -> Any:
        """See `Kind`."""
        config.apply_layernorm = config.reshape_hidden_states = True
        config.out_features = [f"stage{number}" for number in _blocks(config, stages or self.scales(config))]
        return config

    def features(self, backbone: nn.Module, pixels: Tensor) -> list[Float[Tensor, "B D h w"]]:
        """See `Kind`."""
        self._check(backbone, pixels)
        return super().features(backbone, pixels)

    def stride(self, config: Any, scales: int, last: int | None) -> int:
        """Sides that the tokens and the adapter's finer scales both divide."""
        return math.lcm(FINE[-1], _side(config))

    def last_blocks(self, backbone: Any) -> nn.Module:
        """The last two blocks, and the norm behind them."""
        blocks = max((part for part in backbone.modules() if isinstance(part, nn.ModuleList)), key=len)
        return nn.ModuleList([*blocks[-_BLOCKS_TUNED:], _last_norm(backbone)])

    def adapter(self, backbone: Any) -> Adapter | None:
        """See `Kind`."""
        return Pyramid(self.widths(backbone))

    def _check(self, backbone: Any, pixels: Tensor) -> None:
        """Sides of a graph that is exported are no numbers."""
        side = _side(backbone.config)
        height, width = pixels.shape[-2:]
        if isinstance(height, int) and isinstance(width, int) and min(height, width) < _LEAST * side:
            raise SettingsError(
                f"an image makes {height // side} x {width // side} tokens of an encoder whose patches have a side "
                f"of {side} px, and {_LEAST} x {_LEAST} are the least; take images of more than {side} px, or an "
                "encoder with smaller patches"
            )


class Registers(PlainVit):
    """DINOv2 with registers, whose interpolation of positions would bind a graph to one size of images."""

    def features(self, backbone: Any, pixels: Tensor) -> list[Float[Tensor, "B D h w"]]:
        """See `Kind`."""
        if torch.compiler.is_exporting():
            backbone.embeddings.interpolate_pos_encoding = MethodType(_interpolated, backbone.embeddings)
        return super().features(backbone, pixels)


class Vit(PlainVit):
    """ViTs as first published, which are no backbones in `transformers`: their features are hidden states."""

    mean = std = (0.5, 0.5, 0.5)
    spare = (*Kind.spare, "pooler")

    def cut(self, config: Any, stages: int | None, last_stride: int | None) -> Any:
        """See `Kind`."""
        config.out_indices = _blocks(config, stages or self.scales(config))
        return config

    def network(self, config: Any) -> Any:
        """See `Kind`."""
        return library("transformers").ViTModel

    def widths(self, backbone: Any) -> list[int]:
        """See `Kind`."""
        return [backbone.config.hidden_size] * len(backbone.config.out_indices)

    def features(self, backbone: Any, pixels: Tensor) -> list[Float[Tensor, "B D h w"]]:
        """See `Kind`."""
        self._check(backbone, pixels)
        side, norm = _side(backbone.config), _last_norm(backbone)
        grid = (pixels.shape[-2] // side, pixels.shape[-1] // side)
        states = backbone(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states
        return [
            norm(states[index])[:, 1:].transpose(1, 2).unflatten(2, grid) for index in backbone.config.out_indices
        ]


def _interpolated(embeddings: Any, tokens: Tensor, height: Any, width: Any) -> Float[Tensor, "1 T D"]:
    """What the library makes of the positions for an image of that size, which need not be numbers."""
    known, size = embeddings.position_embeddings, (height // _side(embeddings), width // _side(embeddings))
    side = math.isqrt(known.shape[1] - 1)
    square = known[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=size, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([known[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def _blocks(config: Any, count: int) -> list[int]:
    """Numbers of `count` evenly spaced blocks, the first block 1."""
    return [round(config.num_hidden_layers * (index + 1) / count) for index in range(count)]


def _side(config: Any) -> int:
    side = config.patch_size
    return int(side) if isinstance(side, int) else int(side[0])


def _last_norm(backbone: nn.Module) -> nn.Module:
    return [part for part in backbone.children() if isinstance(part, nn.LayerNorm)][-1]

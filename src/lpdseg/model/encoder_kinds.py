"""How kinds of network differ: what a type of `transformers` needs beyond what its backbones have in common."""

import math
from typing import Any

from torch import Tensor, nn

from lpdseg.quiet import library


class Kind:
    """A type for which `transformers` has a backbone with the strides 4, 8, 16, …: it needs nothing of its own."""

    strided = False
    """Whether the configuration holds the stride of each stage."""

    halts = False
    """Whether the last stage can keep the resolution of the one before (`model.last_stride=1`)."""

    def network(self, config: Any) -> Any:
        """The class that builds a network from such a configuration."""
        return library("transformers").MODEL_FOR_BACKBONE_MAPPING[type(config)]

    def widths(self, backbone: Any) -> list[int]:
        """Channels of each scale, finest first."""
        return list(backbone.channels)

    def features(self, backbone: nn.Module, pixels: Tensor) -> list[Tensor]:
        """Features of each scale, finest first."""
        return list(backbone(pixels).feature_maps)

    def stride(self, config: Any, scales: int, last: int | None) -> int:
        """Pixels of the image per pixel of the coarsest scale; `last` is 1 where that keeps the resolution."""
        coarsest: int = 4 * 2 ** (scales - 1)
        return coarsest // 2 if last == 1 else coarsest

    def keep_resolution(self, backbone: Any) -> None:
        """Sets the stride of the last stage to 1, in a network whose configuration cannot say so."""
        raise NotImplementedError


class Strided(Kind):
    """PVTv2, and others whose configurations hold strides."""

    strided = halts = True

    def stride(self, config: Any, scales: int, last: int | None) -> int:
        """See `Kind`."""
        return int(math.prod(config.strides))


class Segformer(Strided):
    """MiT, which is no backbone in `transformers`: its features are hidden states."""

    def network(self, config: Any) -> Any:
        """See `Kind`."""
        return library("transformers").SegformerModel

    def widths(self, backbone: Any) -> list[int]:
        """See `Kind`."""
        return list(backbone.config.hidden_sizes)

    def features(self, backbone: nn.Module, pixels: Tensor) -> list[Tensor]:
        """See `Kind`."""
        return list(backbone(pixels, output_hidden_states=True).hidden_states)


class ResNet(Kind):
    """ResNets, whose last stage halves the resolution in its first block."""

    halts = True

    def keep_resolution(self, backbone: Any) -> None:
        """See `Kind`."""
        for module in backbone.encoder.stages[-1].layers[0].modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)


_KINDS: dict[str, Kind] = {"pvt_v2": Strided(), "segformer": Segformer(), "resnet": ResNet()}


def kind_of(model_type: str) -> Kind:
    """What a type of `transformers` needs."""
    return _KINDS.get(model_type, Kind())

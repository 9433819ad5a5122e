"""How kinds of network differ: what a type of `transformers` needs beyond what its backbones have in common."""

import math
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from lpdseg.choices import Tuning
from lpdseg.model import efficientnet_lite
from lpdseg.quiet import library

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Kind:
    """A type for which `transformers` has a backbone with the strides 4, 8, 16, …: it needs nothing of its own."""

    strided = False
    """Whether the configuration holds the stride of each stage."""

    halts = False
    """Whether the last stage can keep the resolution of the one before (`model.last_stride=1`)."""

    whole = False
    """Whether sides must be multiples of the stride."""

    rate = 5e-5
    """A learning rate of AdamW at which pretrained weights are tuned without being forgotten."""

    tuning: Tuning = "all"
    """What of the encoder learns where nothing else is asked for."""

    spare: tuple[str, ...] = ("hidden_states_norms", "embeddings.mask_token")
    """Beginnings of names of parameters that weights may lack: norms that a backbone adds and that start as the
    identity, and what no feature is made of."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    """What published weights expect of RGB in [0, 1], where no file of theirs says otherwise."""

    def configuration(self, model_type: str, options: dict[str, Any]) -> Any:
        """The configuration with those options."""
        return library("transformers").AutoConfig.for_model(model_type, **options)

    def scales(self, config: Any) -> int:
        """How many scales a network of that configuration has at most."""
        return len(config.depths)

    def cut(self, config: Any, stages: int | None, last_stride: int | None) -> Any:
        """The configuration of the first stages alone (None: all), with every stage as an output."""
        if self.strided:
            config.strides = _strides(stages or len(config.depths), len(config.depths), last_stride or 1)
        return _first_stages(config, stages)

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

    def example(self, config: Any, stride: int) -> tuple[int, int]:
        """Sides of an image from which a graph for images of any size can be made: not alike, so that none is taken
        for the other.
        """
        return 96 + -96 % stride, 128 + -128 % stride

    def keep_resolution(self, backbone: Any) -> None:
        """Sets the stride of the last stage to 1, in a network whose configuration cannot say so."""
        raise NotImplementedError

    def last_blocks(self, backbone: Any) -> nn.Module:
        """What learns with `model.tune=last_blocks`: the last stage."""
        count = len(backbone.config.depths)
        lists = [part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
        # Stages are the list that holds most: others, such as the blocks of a stage, are inside or smaller.
        return max(lists, key=lambda part: sum(values.numel() for values in part.parameters()))[-1]

    def adapter(self, backbone: Any) -> "Adapter | None":
        """What makes scales of features that have none; None where they are what the backbone gives."""
        return None


class Adapter(nn.Module, ABC):
    """What stands between a backbone and the scales that everything else sees; it always learns.

    **Attributes:**

    - `widths`: channels of each scale, finest first.
    """

    widths: tuple[int, ...]

    @abstractmethod
    def forward(self, features: list[Tensor], pixels: Tensor) -> list[Tensor]:
        """Features as the backbone gives them, and normalised pixels → features of every scale, finest first."""


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
    rate = 5e-4

    def keep_resolution(self, backbone: Any) -> None:
        """See `Kind`."""
        for module in backbone.encoder.stages[-1].layers[0].modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)


class Windowed(Kind):
    """Swin transformers of the second version."""

    def example(self, config: Any, stride: int) -> tuple[int, int]:
        """More than one window in every stage, and windows to fill up wherever there can be such."""
        return stride * (config.window_size + 1), stride * (config.window_size + 2)


class Swin(Windowed):
    """The norm behind the last stage of the published network is as wide as that stage, kept or not."""

    spare = (*Kind.spare, "swin.layernorm")


class ConvNeXt(Kind):
    """ConvNeXts leave out what is over at the right and below, where sides are no multiples of the stride."""

    whole = True


class HGNetV2(Kind):
    """Its configuration has the widths twice, and those of `stage_out_channels` are the ones that are built."""

    def widths(self, backbone: Any) -> list[int]:
        """See `Kind`."""
        return list(backbone.config.stage_out_channels)


class FocalNet(Kind):
    """The backbone in `transformers` gives what is behind each stage's downsampling: strides 8, 16, 32, 32."""

    whole = True
    spare = (*Kind.spare, "layernorm")

    def network(self, config: Any) -> Any:
        """See `Kind`."""
        return library("transformers").FocalNetModel

    def widths(self, backbone: Any) -> list[int]:
        """See `Kind`."""
        return [backbone.config.embed_dim * 2**index for index in range(len(backbone.config.depths))]

    def features(self, backbone: Any, pixels: Tensor) -> list[Tensor]:
        """See `Kind`."""
        values, sides = backbone.embeddings(pixels)
        found = []
        for stage in backbone.encoder.stages:
            values, before, below = stage(values, sides)
            found.append(before.transpose(1, 2).unflatten(2, sides))
            sides = below[-2:]
        return found


class EfficientNetLite(Kind):
    """A network of ours, for `transformers` has none; its configuration holds the last stride."""

    strided = halts = whole = True
    rate = 2e-3
    mean, std = efficientnet_lite.MEAN, efficientnet_lite.STD

    def configuration(self, model_type: str, options: dict[str, Any]) -> Any:
        """See `Kind`."""
        return efficientnet_lite.EfficientNetLiteConfig(**options)

    def cut(self, config: Any, stages: int | None, last_stride: int | None) -> Any:
        """See `Kind`."""
        config.stages, config.last_stride = stages or config.stages, last_stride or config.last_stride
        return config

    def network(self, config: Any) -> Any:
        """See `Kind`."""
        return efficientnet_lite.EfficientNetLite

    def features(self, backbone: nn.Module, pixels: Tensor) -> list[Tensor]:
        """See `Kind`."""
        found: list[Tensor] = backbone(pixels)
        return found

    def stride(self, config: Any, scales: int, last: int | None) -> int:
        """See `Kind`."""
        return super().stride(config, scales, config.last_stride)

    def last_blocks(self, backbone: Any) -> nn.Module:
        """See `Kind`."""
        stage: nn.Module = backbone.last_stage()
        return stage


def _strides(kept: int, stages: int, last: int) -> list[int]:
    """Strides of `stages` stages of which the first `kept` are used: 4, 2, …, 2, `last`."""
    return [4, *[2] * (kept - 2), last, *[1] * (stages - kept)]


def _first_stages(config: Any, stages: int | None) -> Any:
    count = len(config.depths)
    kept = count if stages is None else min(stages, count)
    values = {
        key: value[:kept] if isinstance(value, list | tuple) and len(value) == count else value
        for key, value in config.to_dict().items()
        if key not in {"out_features", "out_indices", "stage_names", "model_type"}
    }
    values |= {key: kept for key in ("num_stages", "num_encoder_blocks") if key in values}
    cut = library("transformers").AutoConfig.for_model(config.model_type, **values)
    if hasattr(cut, "out_features"):
        cut.out_features = [f"stage{number}" for number in range(1, kept + 1)]
    return cut

"""Hierarchical image encoders: a table of architectures, built through `transformers`.

B images, H x W pixels; F_l features at scale l, B x C_l x H_l x W_l. The last scale is the coarsest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.errors import SettingsError
from lpdseg.model.encoder_kinds import Kind, kind_of
from lpdseg.model.pretrained import first_stages, load_backbone, read_normalisation, strides, weights_source
from lpdseg.quiet import library

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderEntry:
    """One architecture of the table: all that is needed to add it, where `transformers` has a backbone of its type.

    Types that behave otherwise are in `lpdseg.model.encoder_kinds`.

    **Arguments:**

    - `model_type`: the configuration's type in `transformers`.
    - `options`: what sets this size apart from the type's defaults.
    - `hub_id`: where pretrained weights of this size are published.
    - `licence`: of those weights.
    - `mean`, `std`: what those weights expect of RGB in [0, 1].
    """

    model_type: str
    options: dict[str, Any]
    hub_id: str
    licence: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def kind(self) -> Kind:
        """What sets networks of this type apart."""
        return kind_of(self.model_type)


_APACHE = "Apache-2.0"
_SEGFORMER = "NVIDIA Source Code License for SegFormer (non-commercial)"
_WIDTHS = {"b0": [32, 64, 160, 256], "b1": [64, 128, 320, 512]}
_DEPTHS = {
    "b0": [2, 2, 2, 2], "b1": [2, 2, 2, 2], "b2": [3, 4, 6, 3],
    "b3": [3, 4, 18, 3], "b4": [3, 8, 27, 3], "b5": [3, 6, 40, 3],
}  # fmt: skip


def _pvt(size: str) -> EncoderEntry:
    widths = _WIDTHS.get(size, _WIDTHS["b1"])
    options = {"hidden_sizes": widths, "depths": [3, 4, 6, 3] if size == "b2" else [2, 2, 2, 2]}
    return EncoderEntry("pvt_v2", options, f"OpenGVLab/pvt_v2_{size}", _APACHE)


def _mit(size: str) -> EncoderEntry:
    options = {"hidden_sizes": _WIDTHS.get(size, _WIDTHS["b1"]), "depths": _DEPTHS[size]}
    return EncoderEntry("segformer", options, f"nvidia/mit-{size}", _SEGFORMER)


ENCODERS: dict[str, EncoderEntry] = {
    **{f"pvt_v2_{size}": _pvt(size) for size in ("b0", "b1", "b2")},
    **{f"mit_{size}": _mit(size) for size in _DEPTHS},
    "resnet18": EncoderEntry(
        "resnet",
        {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
        "microsoft/resnet-18",
        _APACHE,
    ),
    "resnet50": EncoderEntry(
        "resnet",
        {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]},
        "microsoft/resnet-50",
        _APACHE,
    ),
    "swin_tiny": EncoderEntry(
        "swin",
        {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
        "microsoft/swin-tiny-patch4-window7-224",
        _APACHE,
    ),
    "convnext_tiny": EncoderEntry(
        "convnext",
        {"hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3]},
        "facebook/convnext-tiny-224",
        _APACHE,
    ),
}


class Encoder(nn.Module):
    """A hierarchical encoder that owns its normalisation.

    **Attributes:**

    - `widths`: channels of each scale, finest first.
    - `config`: the architecture as plain values; `Encoder.from_config` builds the same again.
    - `source`: which weights it started from.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        widths: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        freeze_norm: bool = False,
        last_stride: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.widths = tuple(widths)
        self.freeze_norm = freeze_norm
        self.last_stride = last_stride
        self.source = {"weights": "random"}
        config: Any = backbone.config
        self.kind = kind_of(config.model_type)
        if last_stride == 1:
            self.kind.keep_resolution(backbone)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        if freeze_norm:
            for module in _batch_norms(self):
                module.requires_grad_(False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C_l _H_l _W_l"]]:
        """RGB in [0, 1] → features of every scale, finest first."""
        return self.kind.features(self.backbone, (images - self.mean) / self.std)

    def train(self, mode: bool = True) -> "Encoder":
        """Training mode; batch norm layers stay as they are where `freeze_norm` says so."""
        super().train(mode)
        if self.freeze_norm:
            for module in _batch_norms(self):
                module.eval()
        return self

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel of the coarsest scale: sides that are multiples of it need no padding."""
        return self.kind.stride(self.backbone.config, len(self.widths), self.last_stride)

    @property
    def config(self) -> dict[str, Any]:
        """The architecture as plain JSON values."""
        backbone_config: Any = self.backbone.config
        values: dict[str, Any] = json.loads(backbone_config.to_json_string(use_diff=True))
        return {
            "backbone": values,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "freeze_norm": self.freeze_norm,
            "last_stride": self.last_stride,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        """The architecture that `config` describes, with random weights."""
        values = dict(config["backbone"])
        kind = kind_of(values["model_type"])
        backbone_config = _configuration(values.pop("model_type"), values)
        backbone = kind.network(backbone_config)(backbone_config)
        encoder = cls(
            backbone,
            kind.widths(backbone),
            config["mean"],
            config["std"],
            config["freeze_norm"],
            config["last_stride"],
        )
        encoder.source = {"weights": "checkpoint"}
        return encoder


def build_encoder(
    name: str,
    weights: str | None = None,
    freeze_norm: bool = False,
    stages: int | None = None,
    last_stride: int | None = None,
) -> Encoder:
    """An encoder of the table, with weights from a local folder or a hub id, or random ones.

    **Arguments:**

    - `stages`: how many scales, 3 or 4; None takes all that the weights have. A local folder may hold three.

    - `last_stride`: of the last stage: 1 keeps the resolution of the stage before. None takes 1 for PVTv2 and MiT
      and 2 for the others, as in the table. It changes no weight's shape.

    **Raises:** `SettingsError` for a name that is not in the table, or a stride it cannot have; `WeightsError`
    where weights are missing or belong to another architecture.
    """
    if name not in ENCODERS:
        raise SettingsError(f"unknown encoder {name!r}; the table has {', '.join(ENCODERS)}")
    entry = ENCODERS[name]
    kind = entry.kind
    if last_stride is not None and not kind.halts:
        raise SettingsError(f"model.last_stride cannot be set for {name!r}; it can for PVTv2, MiT and ResNet")
    whole = _configuration(entry.model_type, entry.options)
    if weights is None:
        if kind.strided:
            whole.strides = strides(stages or 4, 4, last_stride or 1)
        config = first_stages(whole, stages)
        backbone = kind.network(config)(config)
    else:
        weights = str(Path(weights).expanduser()) if weights.startswith("~") else weights
        backbone = load_backbone(
            kind.network(whole),
            weights,
            entry.model_type,
            entry.options,
            (last_stride or 1) if kind.strided else None,
            stages,
            label=name,
            hub_id=entry.hub_id,
        )
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = entry.mean, entry.std
    if weights is not None:
        normalisation = read_normalisation(weights, *normalisation, published=weights == entry.hub_id)
    encoder = Encoder(
        backbone, kind.widths(backbone), *normalisation, freeze_norm, None if kind.strided else last_stride
    )
    if weights is not None:
        encoder.source = weights_source(weights)
    return encoder


def _configuration(model_type: str, options: dict[str, Any]) -> Any:
    return library("transformers").AutoConfig.for_model(model_type, **options)


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]

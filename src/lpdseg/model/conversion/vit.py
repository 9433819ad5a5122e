"""ViTs as timm, DINO and DINOv2 name them → `dinov2` or `dinov2_with_registers` of `transformers`, never `vit`.

What Dinov2 has no room for is folded in where that leaves the features as they are: positions of register tokens
into the tokens, hidden units that its rounding adds as zeros.
"""

import re
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lpdseg.errors import WeightsError
from lpdseg.model.conversion.parts import KNOWN, Converted, Parts

ANCHOR = "patch_embed.proj.weight"
"""A tensor that all these ViTs have."""

_WIDE_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
"""Attention heads of published widths whose heads are not 64 wide."""

_OTHER_NAMES = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # chunks of blocks
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"^register_tokens$", "reg_token"),
)
"""How DINOv2 names what timm names otherwise."""


def convert_vit(tensors: dict[str, Tensor], source: str, told: dict[str, Any]) -> Converted:
    """Sizes by the tensors; `told` may hold `num_heads` and `img_size`, which shapes cannot always tell.

    **Raises:** `WeightsError` for ViTs without class token or learned positions, with norms of queries and keys, or
    anything else that is not understood.
    """
    parts = Parts(tensors, ANCHOR, source)
    parts.left = {_usual(name): value for name, value in parts.left.items()}
    if "norm.weight" not in parts.left and "fc_norm.weight" in parts.left:
        for name in ("weight", "bias"):
            parts.left[f"norm.{name}"] = parts.left.pop(f"fc_norm.{name}")
    whole, notes = dict(parts.left), []
    projection = parts.take(ANCHOR, None, 3, None, None)
    width, patch = len(projection), projection.shape[-1]
    if projection.shape[-2] != patch:
        raise WeightsError(f"{source} has patches that are no squares; what can be converted: {KNOWN}")
    heads = told.get("num_heads") or _WIDE_HEADS.get(width, width // 64 if width % 64 == 0 else None)
    if heads is None or width % heads:
        raise WeightsError(
            f"{source}: how many attention heads a width of {width} is split into cannot be told from it"
            f"{'' if heads is None else f', and {heads} do not divide it'}; give --heads"
        )
    if not told.get("num_heads"):
        notes.append(f"{heads} attention heads, as usual at a width of {width}; --heads says otherwise")
    out = {
        "embeddings.patch_embeddings.projection.weight": projection,
        "embeddings.patch_embeddings.projection.bias": parts.maybe(
            "patch_embed.proj.bias", projection.new_zeros(width)
        ),
        "embeddings.mask_token": projection.new_zeros(1, width),
    }
    if "mask_token" in parts.left and parts.left["mask_token"].numel() == width:  # else it is that of a decoder
        out["embeddings.mask_token"] = parts.left.pop("mask_token").reshape(1, width)
    registers = parts.left.pop("reg_token", projection.new_zeros(1, 0, width))
    positions = parts.take("pos_embed", 1, None, width)
    of_prefix = _prefix(source, positions.shape[1], registers.shape[1], patch, told.get("img_size"))
    zeros = projection.new_zeros(1, 1 + registers.shape[1] - of_prefix, width)
    of_class, of_registers, of_patches = torch.cat(
        (positions[:, :of_prefix], zeros, positions[:, of_prefix:]), dim=1
    ).split((1, registers.shape[1], positions.shape[1] - of_prefix), dim=1)
    out["embeddings.cls_token"] = parts.take("cls_token", 1, 1, width)
    out["embeddings.position_embeddings"] = torch.cat((of_class, of_patches), dim=1)
    if registers.shape[1]:
        out["embeddings.register_tokens"] = registers + of_registers
    side = isqrt(of_patches.shape[1]) * patch
    for name in ("weight", "bias"):
        out[f"layernorm.{name}"] = parts.take(f"norm.{name}", width)
    depth = parts.layers(r"blocks\.(\d+)\.")
    qkv_bias = "blocks.0.attn.qkv.bias" in whole
    packed, hidden = _hidden(parts)
    ratio, wanted = _ratio(width, hidden, packed)
    if wanted != hidden:
        notes.append(f"{hidden} hidden units are filled up with zeros to {wanted}, which changes no feature")
    for number in range(depth):
        _block(parts, out, number, width, (packed, hidden, wanted), qkv_bias)
    left_out = parts.finish()
    options: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": side,
        "mlp_ratio": ratio,
        "use_swiglu_ffn": packed,
        "qkv_bias": qkv_bias,
    }
    if registers.shape[1]:
        options["num_register_tokens"] = registers.shape[1]
    timm = "vit_base_patch16_224", {
        "img_size": side, "patch_size": patch, "embed_dim": width, "depth": depth, "num_heads": heads,
        "mlp_ratio": len(whole["blocks.0.mlp.fc1.weight"]) / width + 1e-6, "qkv_bias": qkv_bias,
        "init_values": 1.0 if "blocks.0.ls1.gamma" in whole else None, "reg_tokens": registers.shape[1],
        "no_embed_class": of_prefix == 0,
    }  # fmt: skip
    used = {name: value for name, value in whole.items() if name not in left_out and name != "mask_token"}
    return Converted(
        "dinov2_with_registers" if registers.shape[1] else "dinov2", options, out, left_out, notes, side, timm, used
    )


def _usual(name: str) -> str:
    for pattern, usual in _OTHER_NAMES:
        name = re.sub(pattern, usual, name)
    return name


def _prefix(source: str, positions: int, registers: int, patch: int, side: int | None) -> int:
    """How many of the positions are of class and register tokens rather than of patches."""
    counts = [count for count in sorted({0, 1, 1 + registers}) if count < positions]
    fits = [count for count in counts if isqrt(positions - count) ** 2 == positions - count]
    if side is not None and len(fits) > 1:
        fits = [count for count in fits if positions - count == (side // patch) ** 2]
    if len(fits) != 1:
        raise WeightsError(
            f"{source} has {positions} positions, which with a class token and {registers} register tokens are "
            f"{'no square of patches' if not fits else 'a square of patches in more than one way'}; "
            f"what can be converted: {KNOWN}"
        )
    return fits[0]


def _hidden(parts: Parts) -> tuple[bool, int]:
    """Whether the perceptron is a SwiGLU, with gate and value packed into its first layer, and its hidden units."""
    first, hidden = len(parts.look("blocks.0.mlp.fc1.weight")), parts.look("blocks.0.mlp.fc2.weight").shape[-1]
    if first not in (hidden, 2 * hidden):
        raise WeightsError(f"{parts.source}: a perceptron of {first} to {hidden} units is none of {KNOWN}")
    return first != hidden, hidden


def _ratio(width: int, hidden: int, packed: bool) -> tuple[int, int]:
    """The smallest whole `mlp_ratio` that gives Dinov2 at least so many hidden units, and how many it gives.

    Dinov2's rule for SwiGLU is two thirds, rounded up to a multiple of 8; its configuration takes no fractions.
    """
    ratio = 1
    while (found := (int(width * ratio * 2 / 3) + 7) // 8 * 8 if packed else width * ratio) < hidden:
        ratio += 1
    return ratio, found


def _block(
    parts: Parts, out: dict[str, Tensor], number: int, width: int, units: tuple[bool, int, int], qkv_bias: bool
) -> None:
    theirs, ours = f"blocks.{number}", f"encoder.layer.{number}"
    packed, hidden, wanted = units
    weight = parts.take(f"{theirs}.attn.qkv.weight", 3 * width, width)
    projections = {"weight": weight}
    if qkv_bias:
        projections["bias"] = parts.take(f"{theirs}.attn.qkv.bias", 3 * width)
    for kind, values in projections.items():
        for name, part in zip(("query", "key", "value"), values.chunk(3), strict=True):
            out[f"{ours}.attention.attention.{name}.{kind}"] = part
    out[f"{ours}.attention.output.dense.weight"] = parts.take(f"{theirs}.attn.proj.weight", width, width)
    out[f"{ours}.attention.output.dense.bias"] = parts.maybe(f"{theirs}.attn.proj.bias", weight.new_zeros(width))
    for one in (1, 2):
        out[f"{ours}.layer_scale{one}.lambda1"] = parts.maybe(f"{theirs}.ls{one}.gamma", weight.new_ones(width))
        for kind in ("weight", "bias"):
            out[f"{ours}.norm{one}.{kind}"] = parts.take(f"{theirs}.norm{one}.{kind}", width)
    first = 2 * hidden if packed else hidden
    names = ("weights_in", "weights_out") if packed else ("fc1", "fc2")
    more = wanted - hidden
    into = parts.take(f"{theirs}.mlp.fc1.weight", first, width)
    bias = parts.maybe(f"{theirs}.mlp.fc1.bias", weight.new_zeros(first))
    back = parts.take(f"{theirs}.mlp.fc2.weight", width, hidden)
    if more:
        # The gate comes first in timm's SwiGLUPacked, as here.
        halves = 2 if packed else 1
        into = torch.cat([pad(part, (0, 0, 0, more)) for part in into.chunk(halves)])
        bias = torch.cat([pad(part, (0, more)) for part in bias.chunk(halves)])
        back = pad(back, (0, more))
    out[f"{ours}.mlp.{names[0]}.weight"], out[f"{ours}.mlp.{names[0]}.bias"] = into, bias
    out[f"{ours}.mlp.{names[1]}.weight"] = back
    out[f"{ours}.mlp.{names[1]}.bias"] = parts.maybe(f"{theirs}.mlp.fc2.bias", weight.new_zeros(width))

"""ViTs as timm builds them and ResNets as torchvision does: random tensors by their names, and what they compute.

Written from the definitions, with plain products: a second opinion on converted networks.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def randomly(*shape: int, scale: float = 0.3, about: float = 0.0) -> Tensor:
    return about + scale * torch.randn(*shape)


def vit_tensors(
    width: int = 32,
    depth: int = 3,
    hidden: int = 128,
    patch: int = 8,
    grid: int = 3,
    registers: int = 0,
    swiglu: bool = False,
    layer_scale: bool = True,
    class_position: bool = True,
    qkv_bias: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The state dict of a timm `VisionTransformer` with a classifier."""
    torch.manual_seed(seed)
    prefix = 1 + registers if class_position else 0
    found = {
        "cls_token": randomly(1, 1, width),
        "pos_embed": randomly(1, prefix + grid**2, width),
        "patch_embed.proj.weight": randomly(width, 3, patch, patch, scale=0.1),
        "patch_embed.proj.bias": randomly(width),
        "norm.weight": randomly(width, about=1.0),
        "norm.bias": randomly(width),
        "head.weight": randomly(5, width),
        "head.bias": randomly(5),
    }
    if registers:
        found["reg_token"] = randomly(1, registers, width)
    first = hidden * (2 if swiglu else 1)
    for number in range(depth):
        shapes = {
            "norm1.bias": (width,), "norm2.bias": (width,), "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
            "mlp.fc1.weight": (first, width), "mlp.fc1.bias": (first,),
            "mlp.fc2.weight": (width, hidden), "mlp.fc2.bias": (width,),
        }  # fmt: skip
        if qkv_bias:
            shapes["attn.qkv.bias"] = (3 * width,)
        found |= {f"blocks.{number}.{name}": randomly(*shape) for name, shape in shapes.items()}
        scales = ["norm1.weight", "norm2.weight", *(["ls1.gamma", "ls2.gamma"] if layer_scale else [])]
        found |= {f"blocks.{number}.{name}": randomly(width, about=1.0) for name in scales}
    return found


def vit_features(tensors: dict[str, Tensor], image: Tensor, heads: int) -> Tensor:
    """1 x 3 x H x W → the patches' tokens after the last norm, N x D."""
    width = tensors["cls_token"].shape[-1]
    registers = tensors.get("reg_token", torch.zeros(1, 0, width))[0]
    patch = tensors["patch_embed.proj.weight"].shape[-1]
    cut = F.unfold(image, patch, stride=patch)[0].T  # one row per patch, channels first
    patches = cut @ tensors["patch_embed.proj.weight"].flatten(1).T + tensors["patch_embed.proj.bias"]
    positions = tensors["pos_embed"][0]
    if len(positions) == len(patches):
        rows = torch.cat([tensors["cls_token"][0], registers, patches + positions])
    else:
        rows = torch.cat([tensors["cls_token"][0], registers, patches]) + positions
    number = 0
    while f"blocks.{number}.norm1.weight" in tensors:
        start = f"blocks.{number}."
        block = {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}
        rows = rows + _attention(_norm(rows, block, "norm1"), block, heads) * block.get("ls1.gamma", torch.ones(1))
        rows = rows + _perceptron(_norm(rows, block, "norm2"), block) * block.get("ls2.gamma", torch.ones(1))
        number += 1
    return _norm(rows, tensors, "norm")[1 + len(registers) :]


def _norm(rows: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    centred = rows - rows.mean(1, keepdim=True)
    spread = (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return centred / spread * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def _attention(rows: Tensor, block: dict[str, Tensor], heads: int) -> Tensor:
    width = rows.shape[1]
    each = width // heads
    qkv = rows @ block["attn.qkv.weight"].T + block.get("attn.qkv.bias", torch.zeros(1))
    found = []
    for head in range(heads):
        query, key, value = (qkv[:, part * width + head * each :][:, :each] for part in range(3))
        found.append(torch.softmax(query @ key.T / each**0.5, dim=1) @ value)
    return torch.cat(found, dim=1) @ block["attn.proj.weight"].T + block["attn.proj.bias"]


def _perceptron(rows: Tensor, block: dict[str, Tensor]) -> Tensor:
    inner = rows @ block["mlp.fc1.weight"].T + block["mlp.fc1.bias"]
    hidden = block["mlp.fc2.weight"].shape[1]
    if inner.shape[1] == 2 * hidden:
        gate, value = inner[:, :hidden], inner[:, hidden:]
        inner = gate * torch.sigmoid(gate) * value
    else:
        inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
    return inner @ block["mlp.fc2.weight"].T + block["mlp.fc2.bias"]


def resnet_tensors(
    depths: tuple[int, ...] = (2, 1, 1, 1), bottleneck: bool = False, stem: int = 8, seed: int = 0
) -> dict[str, Tensor]:
    """The state dict of a torchvision `ResNet`, narrow."""
    torch.manual_seed(seed)
    found: dict[str, Tensor] = {}

    def layer(convolution: str, norm: str, *shape: int) -> None:
        found[f"{convolution}.weight"] = randomly(*shape, scale=(2 / (shape[1] * shape[2] ** 2)) ** 0.5)
        for name, about in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0)):
            found[f"{norm}.{name}"] = randomly(shape[0], scale=0.1, about=about)
        found[f"{norm}.running_var"] = 0.5 + torch.rand(shape[0])
        found[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("conv1", "bn1", stem, 3, 7, 7)
    before = stem
    for stage, depth in enumerate(depths):
        inner = stem * 2**stage
        width = inner * (4 if bottleneck else 1)
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            if bottleneck:
                sizes = [(inner, before, 1, 1), (inner, inner, 3, 3), (width, inner, 1, 1)]
            else:
                sizes = [(inner, before, 3, 3), (width, inner, 3, 3)]
            for number, size in enumerate(sizes, start=1):
                layer(f"{name}.conv{number}", f"{name}.bn{number}", *size)
            if block == 0 and (stage > 0 or before != width):
                layer(f"{name}.downsample.0", f"{name}.downsample.1", width, before, 1, 1)
            before = width
    return found | {"fc.weight": randomly(5, before), "fc.bias": randomly(5)}


def resnet_features(tensors: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """B x 3 x H x W → the output of each stage."""

    def layer(pixels: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        weight = tensors[f"{convolution}.weight"]
        found = F.conv2d(pixels, weight, stride=stride, padding=weight.shape[-1] // 2)
        gain = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + 1e-5).sqrt()
        offset = tensors[f"{norm}.bias"] - gain * tensors[f"{norm}.running_mean"]
        return found * gain[:, None, None] + offset[:, None, None]

    pixels = F.max_pool2d(layer(images, "conv1", "bn1", 2).relu(), 3, 2, 1)
    stages = []
    stage = 1
    while f"layer{stage}.0.conv1.weight" in tensors:
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in tensors:
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            if f"{name}.conv3.weight" in tensors:
                inner = layer(pixels, f"{name}.conv1", f"{name}.bn1").relu()
                inner = layer(inner, f"{name}.conv2", f"{name}.bn2", stride).relu()
                inner = layer(inner, f"{name}.conv3", f"{name}.bn3")
            else:
                inner = layer(pixels, f"{name}.conv1", f"{name}.bn1", stride).relu()
                inner = layer(inner, f"{name}.conv2", f"{name}.bn2")
            if f"{name}.downsample.0.weight" in tensors:
                pixels = layer(pixels, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            pixels = (pixels + inner).relu()
            block += 1
        stages.append(pixels)
        stage += 1
    return stages

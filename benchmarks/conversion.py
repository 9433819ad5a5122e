"""How far features of converted weights are from those of the libraries that the weights are of.

    python benchmarks/conversion.py [FOLDER]

Needs timm and torchvision (`pip install timm torchvision`) and no network: tiny ones of each published kind get
random weights, are saved as those libraries save them, and are converted by `lpdseg weights convert`. Its features
and the library's are compared on one image. Without FOLDER everything is written to a temporary one.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lpdseg.model.conversion.convert import convert
from lpdseg.quiet import library

_SMALL = {"img_size": 64, "embed_dim": 128, "depth": 2, "num_heads": 2}


@dataclass
class Case:
    """A network of another library: how it is built, and how its features (D, h, w) are had."""

    name: str
    build: Callable[[], nn.Module]
    features: Callable[[Any, Tensor], Tensor]
    config: dict[str, Any] | None = None
    heads: int | None = None


def cases() -> Iterator[Case]:
    import timm
    import torchvision
    from timm.layers import SwiGLUPacked

    swiglu = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2.66667 * 2}
    vits: dict[str, tuple[str, dict[str, Any]]] = {
        "Phikon, Kaiko: ViT-B/16": ("vit_base_patch16_224", {}),
        "Kaiko: ViT-B/8": ("vit_base_patch8_224", {}),
        "UNI: ViT-L/16, layer scale": ("vit_large_patch16_224", {"init_values": 1e-5, "dynamic_img_size": True}),
        "UNI2-h: 8 registers, SwiGLU, no class position": (
            "vit_giant_patch14_224",
            {"init_values": 1e-5, "reg_tokens": 8, "no_embed_class": True, "img_size": 56} | swiglu,
        ),
        "Virchow: ViT-H/14, SwiGLU": (
            "vit_huge_patch14_224",
            {"init_values": 1e-5, "img_size": 56} | swiglu | {"mlp_ratio": 5.3375, "embed_dim": 160},
        ),
        "Virchow2: the same, 4 registers": (
            "vit_huge_patch14_224",
            {"init_values": 1e-5, "reg_tokens": 4, "img_size": 56}
            | swiglu
            | {"mlp_ratio": 5.3375, "embed_dim": 160},
        ),
        "H-optimus: ViT-g/14, 4 registers, SwiGLU": (
            "vit_giant_patch14_reg4_dinov2",
            {"img_size": 56, "init_values": 1e-5},
        ),
        "GigaPath: ViT-g/16, SwiGLU": ("vit_giant_patch14_224", {"patch_size": 16, "init_values": 1e-5} | swiglu),
        "no bias of queries, keys and values": ("vit_base_patch16_224", {"qkv_bias": False}),
        "a norm after pooling": ("vit_base_patch16_224", {"global_pool": "avg"}),
        "a fraction as mlp_ratio": ("vit_base_patch16_224", {"mlp_ratio": 3.7362}),
    }
    for name, (architecture, options) in vits.items():
        sizes = _SMALL | options

        def build(architecture: str = architecture, sizes: dict[str, Any] = sizes) -> nn.Module:
            return timm.create_model(architecture, pretrained=False, **sizes)

        def tokens(network: Any, image: Tensor) -> Tensor:
            found = network.fc_norm(network.forward_features(image))[0, network.num_prefix_tokens :]
            side = image.shape[-1] // network.patch_embed.patch_size[0]
            return found.T.unflatten(1, (side, side))

        model_args = {key: value for key, value in sizes.items() if key not in ("mlp_layer", "act_layer")}
        config = {
            "architecture": architecture,
            "model_args": model_args,
            "pretrained_cfg": {
                "input_size": [3, sizes["img_size"], sizes["img_size"]],
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
            },
        }
        yield Case(name, build, tokens, config)
        yield Case(f"{name}; tensors alone", build, tokens, heads=2)
    for depth in (18, 34, 50, 101):
        yield Case(
            f"timm's ResNet-{depth}",
            lambda depth=depth: timm.create_model(f"resnet{depth}", pretrained=False),
            lambda network, image: network.forward_features(image)[0],
            {
                "architecture": f"resnet{depth}",
                "pretrained_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            },
        )
        yield Case(
            f"torchvision's ResNet-{depth}",
            lambda depth=depth: getattr(torchvision.models, f"resnet{depth}")(weights=None),
            lambda network, image: nn.Sequential(*list(network.children())[:-2])(image)[0],
        )


@torch.no_grad()
def difference(case: Case, folder: Path) -> float:
    """The largest difference of features, as a share of the largest one."""
    torch.manual_seed(0)
    network = case.build().eval()
    for values in (*network.parameters(), *network.buffers()):
        if values.is_floating_point() and values.dim() < 4:  # no norm, scale or token may be where it starts
            values.add_(torch.rand_like(values) * 0.2 if values.dim() == 1 else torch.randn_like(values) * 0.02)
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    if case.config is None:
        torch.save(
            {"state_dict": {f"module.{name}": values for name, values in network.state_dict().items()}},
            source / "a.pth",
        )
    else:
        save_file(
            {name: values.contiguous() for name, values in network.state_dict().items()},
            source / "model.safetensors",
        )
        (source / "config.json").write_text(json.dumps(case.config))
    convert(str(source), out, heads=case.heads)
    transformers = library("transformers")
    config = transformers.AutoConfig.from_pretrained(out)
    converted = getattr(transformers, config.architectures[0]).from_pretrained(out).eval()
    side = getattr(config, "image_size", 64)
    image = torch.randn(1, 3, side, side)
    theirs, ours = case.features(network, image), converted(image).feature_maps[-1][0]
    return float((theirs - ours).abs().max() / theirs.abs().max())


def main(folder: Path) -> None:
    worst = 0.0
    for number, case in enumerate(cases()):
        found = difference(case, folder / str(number))
        worst = max(worst, found)
        print(f"{found:.1e}  {case.name}", flush=True)
    print(f"{worst:.1e}  the largest")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))

"""Proof that converted weights are what they were: loaded again, and compared with timm where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.errors import WeightsError
from lpdseg.model.configuration import quiet_loading
from lpdseg.model.conversion.parts import Converted
from lpdseg.quiet import library
from lpdseg.version import version_of

_CLOSE = 1e-4
"""Largest difference of features, as a share of the largest one: what float32 leaves after forty blocks."""


@torch.no_grad()
def prove(
    converted: Converted, folder: Path, named: tuple[str, dict[str, Any]] | None, source: str
) -> dict[str, Any]:
    """Loads the written folder and says how its features were proven.

    `named` is the architecture of timm, with options, that the weights' own configuration names.

    **Raises:** `WeightsError` where a tensor does not get to its place, or timm's features are others.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, converted.side, converted.side, generator=generator)
    network = _load_again(folder, converted)
    found = _features(network, image)
    proof = {"how": "every tensor has its place; timm is not installed, so features were not compared"}
    if find_spec("timm") is not None:
        theirs = _features_of_timm(converted, named, image)
        if theirs is None:
            proof["how"] = (
                "every tensor has its place; timm did not build the network, so features were not compared"
            )
        else:
            difference = _compare(found, theirs, source)
            proof["how"] = (
                f"features differ from those of timm {version_of('timm')} by at most {difference:.2g} "
                "of the largest"
            )
    about = f"one image of noise (normal, seed 0, {converted.side} px)"
    parameters = sum(values.numel() for values in network.parameters())
    return {
        "parameters": parameters,
        "proof": proof
        | {
            "image": about,
            "first": found.flatten()[:3].tolist(),
            "mean": float(found.mean()),
            "sd": float(found.std()),
        },
    }


def _load_again(folder: Path, converted: Converted) -> nn.Module:
    transformers = library("transformers")
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with quiet_loading():
        network, info = transformers.MODEL_FOR_BACKBONE_MAPPING[type(config)].from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
        )
    wrong = sorted(
        str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in info[kind]
    )
    if wrong:
        raise WeightsError(
            f"transformers {version_of('transformers')} does not take the converted tensors as "
            f"{converted.model_type} (the first is {wrong[0]}); install another version of it"
        )
    loaded: nn.Module = network.eval()
    return loaded


def _features(network: Any, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
    """The last scale of a ResNet; of a ViT its patches' tokens after the last norm."""
    last: Tensor = network(images).feature_maps[-1]
    return last


def _features_of_timm(
    converted: Converted, named: tuple[str, dict[str, Any]] | None, images: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B D h w"] | None:
    """The same by timm; None where it does not start or does not know such a network."""
    try:
        import timm
    except (ImportError, RuntimeError):  # of its torchvision, which may be for another torch
        return None
    name, sizes = converted.timm
    candidates = [(name, sizes)]
    if named is not None:
        candidates.insert(0, (named[0], {key: sizes[key] for key in ("img_size",) if key in sizes} | named[1]))
    gated = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU}
    for architecture, options in candidates:
        more = gated if converted.options.get("use_swiglu_ffn") else {}
        try:
            network = timm.create_model(architecture, pretrained=False, **options | more | {"num_classes": 0})
            network.load_state_dict(converted.used)
        except (RuntimeError, TypeError, KeyError, ValueError, AssertionError):
            continue
        found: Tensor = network.eval().float().forward_features(images)
        if found.dim() == 3:
            side = converted.side // converted.options["patch_size"]
            found = found[:, network.num_prefix_tokens :].transpose(1, 2).unflatten(2, (side, side))
        return found
    return None


def _compare(ours: Float[Tensor, "B D h w"], theirs: Float[Tensor, "B D h w"], source: str) -> float:
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    if not difference <= _CLOSE:
        raise WeightsError(
            f"{source}: the converted network's features differ from timm's by {difference:.2g} of the largest, so "
            "nothing is written; see whether --heads is right"
        )
    return difference

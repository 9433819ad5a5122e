"""Class maps of several views and scales → one score per class and pixel (method §4).

B images, V views of each, C classes; scale l has H_l x W_l pixels, the image H x W.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.maps.normalise import unit_range


def activation(maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
    """ReLU, then each image's and class's map min–max normalised to [0, 1]."""
    return unit_range(maps.relu())


def fuse_scales(
    scores: Mapping[int, Float[Tensor, "B C H_l W_l"]], weights: Mapping[int, float], size: tuple[int, int]
) -> Float[Tensor, "B C H W"]:
    """Σ_l w_l · upsampled S_l / Σ_l w_l, in [0, 1]. Upsampling is bilinear."""
    total = sum(weights[level] for level in scores)
    levels = sorted(scores)
    parts = [F.interpolate(scores[level], size=size, mode="bilinear", align_corners=False) for level in levels]
    if len(parts) > 1:
        parts = [part * (weights[level] / total) for level, part in zip(levels, parts, strict=True)]
    fused = parts[0]
    for part in parts[1:]:
        fused = fused + part
    return fused

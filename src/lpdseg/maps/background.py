"""Scores for background: pixels that belong to no tissue class (method §4).

B images, C classes, H x W pixels.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Background = Literal["power", "glass", "none"]

_GLASS_DENSITY = 0.12
"""Mean optical density (base 10) below which a pixel passes for glass: the empty slide transmits 76 % or more."""

_WINDOW = 15
"""Pixels over which the optical density is averaged."""


def background_score(
    kind: Background,
    scores: Float[Tensor, "B C H W"],
    images: Float[Tensor, "B 3 H W"],
    power: float,
) -> Float[Tensor, "B 1 H W"] | None:
    """A score in [0, 1] per pixel, or None for `none`.

    - `power`: (1 − max_c score)^power, as published: background is where no class is active.
    - `glass`: a soft step on the optical density, averaged over 15 x 15 pixels so that chinks between fibres and
      small lumina stay tissue.
    """
    if kind == "none":
        return None
    if kind == "power":
        return (1 - scores.amax(1, keepdim=True)).clamp(min=0) ** power
    density = -images.clamp(min=1 / 255).log10().mean(1, keepdim=True)
    padded = F.pad(density, [_WINDOW // 2] * 4, mode="replicate")
    density = F.avg_pool2d(padded, _WINDOW, stride=1)
    return torch.sigmoid((_GLASS_DENSITY - density) / (0.15 * _GLASS_DENSITY))

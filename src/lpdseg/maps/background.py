"""Scores for background: pixels that belong to no tissue class (method §4).

B images, C classes, H x W pixels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.choices import BackgroundRule

GLASS_DENSITY = 0.06
"""Mean optical density (base 10) of a pixel that is as likely glass as tissue: 87 % transmitted, or 222 of 255, the
usual threshold for white in H&E."""

_STEP = 0.008
"""Width of the soft step around it."""

_WINDOW = 13
"""Pixels over which the optical density is averaged, so that chinks between fibres and small lumina stay tissue."""


def with_background(
    kind: BackgroundRule,
    scores: Float[Tensor, "B C H W"],
    gate: Bool[Tensor, "B C"],
    images: Float[Tensor, "B 3 H W"],
    power: float,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 1 H W"] | None]:
    """Class scores, and a score in [0, 1] for background (None for `none`).

    - `power`: (1 − max_c score)^power over the classes that pass the gate, as published: background is where none
      of them is active.
    - `glass`: g, a soft step on the optical density, averaged over 13 x 13 pixels. Min–max normalisation lets some
      class be active in glass too, so class scores are multiplied by 1 − g.
    """
    if kind == "none":
        return scores, None
    if kind == "power":
        return scores, (1 - (scores * gate[:, :, None, None]).amax(1, keepdim=True)).clamp(min=0) ** power
    glass = glass_share(images)
    return scores * (1 - glass), glass


def glass_share(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """A soft step in [0, 1] on the mean optical density, averaged over 13 x 13 pixels: 1 is glass, 0 tissue."""
    density = -images.clamp(min=1 / 255).log10().mean(1, keepdim=True)
    padded = F.pad(density, [_WINDOW // 2] * 4, mode="replicate")
    return torch.sigmoid((GLASS_DENSITY - F.avg_pool2d(padded, _WINDOW, stride=1)) / _STEP)

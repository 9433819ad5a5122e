"""Scores for background: pixels that belong to no tissue class (method §4).

B images, C classes, H x W pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.choices import BackgroundRule
from lpdseg.maps.glass import GLASS_DENSITY, GLASS_STEP, GLASS_WINDOW
from lpdseg.maps.sampling import every


def outside_glass(
    scores: Float[Tensor, "B C H W"], glass: Float[Tensor, "B 1 H W"] | None
) -> Float[Tensor, "B C H W"]:
    """Class scores times 1 − g: min–max normalisation lets some class be active in glass too."""
    return scores if glass is None else scores * (1 - glass)


def background_score(
    kind: BackgroundRule,
    highest: Float[Tensor, "B _k H W"] | None,
    glass: Float[Tensor, "B 1 H W"] | None,
    power: float,
) -> Float[Tensor, "B _n H W"] | None:
    """A score in [0, 1] for background; None for `none`.

    - `power`: (1 − `highest`)^power, as published: background is where no class that passes the gate is active.
      `highest` is the highest score of those, 0 where none passes.
    - `glass`: the share of glass, see `glass_share`.
    """
    if kind == "none":
        return None
    if kind == "glass":
        return glass
    assert highest is not None
    return (1 - highest).clamp(min=0) ** power


def glass_share(images: Float[Tensor, "B 3 H W"], step: int = 1) -> Float[Tensor, "B 1 h w"]:
    """A soft step in [0, 1] on the mean optical density, averaged over 13 x 13 pixels: 1 is glass, 0 tissue.

    The window counts the image's own pixels, so a resized image has other glass. Where only some pixels are wanted,
    `step` computes every so many, see `lpdseg.maps.sampling.every`, to the same values but for the last bit.
    """
    dimmest = images.clamp(min=1 / 255)
    density = (dimmest[:, :1] * dimmest[:, 1:2] * dimmest[:, 2:]).log10() / -3  # the mean over the channels
    margin = GLASS_WINDOW // 2
    padded = F.pad(density, [margin] * 4, mode="replicate")
    rows, columns = (every(step, side) for side in images.shape[-2:])
    across = F.avg_pool2d(padded[..., columns.start :], (1, GLASS_WINDOW), stride=(1, step))
    mean = F.avg_pool2d(across[..., rows.start :, :], (GLASS_WINDOW, 1), stride=(step, 1))
    return torch.sigmoid((GLASS_DENSITY - mean) / GLASS_STEP)

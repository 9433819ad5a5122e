"""Gated scores → class probabilities per pixel (method §4, with a calibrated unary instead of the flat one).

B images, C classes, H x W pixels.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lpdseg.maps.normalise import unit_range

_MOST_RANKS = 255


def likeliest(scores: Float[Tensor, "B n H W"]) -> Int[Tensor, "B H W"]:
    """The channel with the highest score at each pixel, the first of equals.

    As `scores.max(1).indices`, which takes twice as long on CPUs, and `argmax`, which takes 50 times as long.
    """
    count = scores.shape[1]
    if count > _MOST_RANKS:
        return scores.max(1).indices
    ranks = torch.arange(count, 0, -1, dtype=torch.uint8, device=scores.device)[:, None, None]
    first = ((scores == scores.amax(1, keepdim=True)) * ranks).amax(1)
    return count - first.clamp(min=1).long()  # where a score is no number, none equals the highest


def gated_logits(
    logits: Float[Tensor, "B C H W"],
    gate: Bool[Tensor, "B C"],
    background: Float[Tensor, "B 1 H W"] | None,
) -> Float[Tensor, "B n H W"]:
    """Logits of the classes that pass the gate, −inf for the others, and of background where it has one.

    A class that does not pass gets probability 0 from the softmax, so no refinement can bring it back. Where
    nothing passes, and background has no logit, every class counts as open: each pixel must belong to one.
    """
    closed = ~gate[:, :, None, None]
    if background is None:
        return logits.masked_fill(closed & gate.any(1)[:, None, None, None], -torch.inf)
    return torch.cat([logits.masked_fill(closed, -torch.inf), background], 1)


def class_probabilities(
    scores: Float[Tensor, "B C H W"],
    gate: Bool[Tensor, "B C"],
    background: Float[Tensor, "B 1 H W"] | None,
    temperature: float,
) -> Float[Tensor, "B n H W"]:
    """softmax(score / temperature) over the classes that pass the gate, and background where it has a score.

    At temperature 1 this is the published softmax, in which a perfect pixel of four classes and background gets
    0.4.
    """
    scaled = None if background is None else background / temperature
    return gated_logits(scores / temperature, gate, scaled).softmax(1)


def pseudo_mask(
    maps: Float[Tensor, "B C H W"], labels: Float[Tensor, "B C"], background_power: float | None
) -> Int[Tensor, "B H W"]:
    """The class of each pixel among those of the image's label, for the diversity loss; no gradient.

    **Arguments:**

    - `maps`: class maps before normalisation.
    - `labels`: 0 or 1.
    - `background_power`: pixels where (1 − max score)^power is the largest score belong to no class and get C;
      None where every pixel belongs to a class.
    """
    present = labels[:, :, None, None] > 0
    scores = unit_range(maps.detach().relu())
    scores = scores.masked_fill(~present, -1.0)
    best, index = scores.max(1)
    index = index.masked_fill(best < 0, maps.shape[1])  # an image without any class
    if background_power is None:
        return index
    return index.masked_fill((1 - best.clamp(min=0)) ** background_power > best, maps.shape[1])

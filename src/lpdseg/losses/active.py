"""Which prototypes take part in the contrast (method §2).

B images, C classes, k prototypes per class, K in all; N pairs of an image and a prototype.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lpdseg.maps.merge import merge_prototypes
from lpdseg.model.device import runs_ahead

_MULTIPLE = 16
"""Of which there are pairs where the device runs ahead, so that shapes repeat."""


def active_prototypes(
    logits: Float[Tensor, "B K"],
    labels: Float[Tensor, "B C"],
    class_of: Int[Tensor, " K"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
) -> Bool[Tensor, "B K"]:
    """Prototypes of a class present in the image whose logit is at least the mean of their class.

    About half of them; a class with a single prototype has it active. The mean is over those that are `real`.
    """
    mean = merge_prototypes(logits, slots, real, "mean")
    return (logits >= mean[:, class_of]) & (labels[:, class_of] > 0)


def active_by_share(
    probability: Float[Tensor, "B K *pixels"],
    labels: Float[Tensor, "B C"],
    class_of: Int[Tensor, " K"],
    live: Bool[Tensor, " K"],
) -> Bool[Tensor, "B K"]:
    """Prototypes whose share of their class in the image exceeds an equal one, 1/k, of classes that are present.

    **Arguments:**

    - `probability`: of each prototype at each pixel; those of a class add up to the class's.
    - `live`: which prototypes take part, k of a class; one that is alone is active.
    """
    area = probability.flatten(2).sum(2)
    whole = torch.zeros_like(labels).to(area.dtype).index_add(1, class_of, area)
    count = torch.zeros(labels.shape[1], dtype=area.dtype, device=area.device).index_add(
        0, class_of, live.to(area.dtype)
    )
    alone = count[class_of] == 1
    return ((area * count[class_of] > whole[:, class_of]) | alone) & live & (labels[:, class_of] > 0)


@dataclass(frozen=True)
class Pairs:
    """Pairs of an image and a prototype; `weights` says for how many active pairs of its image each stands.

    Those of weight 0 stand for none and only fill up.
    """

    images: Int[Tensor, " N"]
    prototypes: Int[Tensor, " N"]
    weights: Float[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.images)


def draw_pairs(active: Bool[Tensor, "B K"], per_image: int | None) -> Pairs:
    """Active pairs: all of them, or at most `per_image` drawn at random from each image.

    Of n active prototypes m are drawn without replacement, each of which then weighs n / m: the expectation of a
    weighted sum over the pairs drawn is the sum over all active pairs, and the weights always add up to their
    number. So the sampled contrast and its gradient are unbiased.
    """
    if per_image is None:
        return _listed(active, torch.ones_like(active[:, 0], dtype=torch.float32))
    noise = torch.rand(active.shape, device=active.device).masked_fill(~active, -1.0)
    chosen = noise.topk(min(per_image, active.shape[1]), dim=1)
    drawn = torch.zeros_like(active).scatter_(1, chosen.indices, chosen.values >= 0)
    return _listed(drawn, active.sum(1) / drawn.sum(1).clamp(min=1))


def _listed(chosen: Bool[Tensor, "B K"], weights: Float[Tensor, " B"]) -> Pairs:
    """The chosen pairs row by row, with the weight of their image. How many there are is all that is waited for."""
    number = int(chosen.sum())
    length = number
    if runs_ahead(chosen.device):
        length = min(-(-number // _MULTIPLE) * _MULTIPLE, chosen.numel())
    places = (~chosen).flatten().to(torch.uint8).argsort(stable=True)[:length]
    images, prototypes = places // chosen.shape[1], places % chosen.shape[1]
    return Pairs(images, prototypes, weights[images] * (torch.arange(length, device=places.device) < number))

"""Which prototypes take part in the contrast (method §2).

B images, C classes, k prototypes per class, K in all; N pairs of an image and a prototype.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lpdseg.maps.merge import merge_prototypes


def active_prototypes(
    logits: Float[Tensor, "B K"],
    labels: Float[Tensor, "B C"],
    class_of: Int[Tensor, " K"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
) -> Bool[Tensor, "B K"]:
    """Prototypes of a class present in the image whose logit is at least the mean of their class.

    About half of them; a class with a single prototype has it active.
    """
    mean = merge_prototypes(logits, slots, real, "mean")
    return (logits >= mean[:, class_of]) & (labels[:, class_of] > 0)


def draw_pairs(active: Bool[Tensor, "B K"], per_image: int | None) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Active pairs (image, prototype): all of them, or at most `per_image` drawn at random from each image."""
    if per_image is not None:
        noise = torch.rand(active.shape, device=active.device).masked_fill(~active, -1.0)
        chosen = noise.topk(min(per_image, active.shape[1]), dim=1)
        active = torch.zeros_like(active).scatter_(1, chosen.indices, chosen.values >= 0)
    images, prototypes = active.nonzero(as_tuple=True)
    return images, prototypes

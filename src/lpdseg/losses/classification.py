"""The image-level classification loss L_cls (method §2).

B images, C classes, K prototypes in all.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.term import Term


def classification_loss(
    logits: list[Float[Tensor, "B C"]], labels: Float[Tensor, "B C"], weights: list[float]
) -> Term:
    """L_cls = Σ_l w_l · BCEWithLogits(mean_j z_l, y), averaged over images and classes.

    **Arguments:**

    - `logits`: one entry per scale, already merged over a class's prototypes.
    - `labels`: 0 or 1.
    - `weights`: w_l.
    """
    losses = torch.stack(
        [
            weight * F.binary_cross_entropy_with_logits(scale.float(), labels, reduction="sum")
            for weight, scale in zip(weights, logits, strict=True)
        ]
    )
    return Term(losses.sum(), torch.tensor(float(labels.numel()), device=labels.device))

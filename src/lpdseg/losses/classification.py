"""The image-level classification loss L_cls (method §2).

B images, C classes, K prototypes in all.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.objective import Seen, Single
from lpdseg.losses.term import Term, global_mean


class Classification(Single):
    """L_cls of the scales that have a weight, which is what all weak supervision starts from.

    **Arguments:**

    - `scales`: w_l by scale; those of weight 0 are not computed.
    """

    titles: ClassVar[Mapping[str, str]] = {"classification": "classification, L_cls"}

    def __init__(self, scales: Mapping[int, float], stop: float = 1.0) -> None:
        super().__init__(stop=stop, levels=scales)
        self.scales = scales

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`."""
        logits = [seen.logits[level] for level in self.scales]
        return global_mean(classification_loss(logits, seen.labels, list(self.scales.values())))


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
    return Term(losses.sum(), labels.new_full((), labels.numel()))

"""Pseudo masks from class maps and image-level labels, and the loss of a segmentation head on them.

B images, C classes, H x W pixels.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.term import Term

IGNORED = -100
"""What a pixel of a pseudo mask holds that teaches nothing."""


def confident_mask(
    probabilities: Float[Tensor, "B C H W"],
    labels: Float[Tensor, "B C"],
    glass: Bool[Tensor, "B H W"] | None,
    confidence: float,
) -> Int[Tensor, "B H W"]:
    """The class of each pixel among those of the image's label, where it is sure.

    **Arguments:**

    - `probabilities`: sum 1 over the classes of the label.
    - `glass`: pixels without tissue, which are ignored; None where there are none.
    - `confidence`: pixels whose largest probability is below it are ignored. A patch with a single label is sure
      everywhere.
    """
    best, index = probabilities.masked_fill(labels[:, :, None, None] == 0, 0.0).max(1)
    unsure = best < confidence
    if glass is not None:
        unsure = unsure | glass
    return index.masked_fill(unsure, IGNORED)


def pseudo_mask_loss(logits: Float[Tensor, "B C H W"], mask: Int[Tensor, "B H W"]) -> Term:
    """Cross-entropy of dense logits with a (pseudo) mask, averaged over the pixels that teach."""
    loss = F.cross_entropy(logits.float(), mask, ignore_index=IGNORED, reduction="sum")
    return Term(loss, (mask != IGNORED).sum().to(loss.dtype))

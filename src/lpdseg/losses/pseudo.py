"""Pseudo masks from class maps and image-level labels, and the loss of a segmentation head on them.

B images, C classes, H x W pixels.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.term import Term

IGNORED = -100
"""What a pixel of a pseudo mask holds that no loss counts."""

CONFIDENCE = 0.8
"""Probability among the classes of the label from which a pixel of a dense map shows one of them."""


def sure_mask(
    logits: Float[Tensor, "B C H W"], labels: Float[Tensor, "B C"], confidence: float
) -> Int[Tensor, "B H W"]:
    """`confident_mask` of class logits, which may be of any class."""
    shares = logits.float().softmax(1) * labels[:, :, None, None]
    return confident_mask(shares / shares.sum(1, keepdim=True).clamp(min=1e-6), labels, None, confidence)


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
      everywhere, one without any nowhere.
    """
    best, index = probabilities.masked_fill(labels[:, :, None, None] == 0, 0.0).max(1)
    unsure = (best < confidence) | (labels == 0).all(1)[:, None, None]
    if glass is not None:
        unsure = unsure | glass
    return index.masked_fill(unsure, IGNORED)


def candidate_loss(
    logits: Float[Tensor, "B C H W"], labels: Float[Tensor, "B C"], where: Bool[Tensor, "B H W"]
) -> Term:
    """−log Σ_{c in the label} p_c(u), averaged over the pixels `where`: a class that is absent is nowhere.

    The likelihood of partial labels (Jin & Ghahramani 2002): the image's classes are each pixel's candidates.
    Images without any class are left out.
    """
    logits = logits.float()
    candidates = (labels > 0)[:, :, None, None]
    loss = logits.logsumexp(1) - logits.masked_fill(~candidates, -torch.inf).logsumexp(1)
    where = where & candidates.any(1)
    return Term(torch.where(where, loss, 0.0).sum(), where.sum().to(loss.dtype))


def pseudo_mask_loss(logits: Float[Tensor, "B C H W"], mask: Int[Tensor, "B H W"], balance: float = 0.0) -> Term:
    """Cross-entropy of dense logits with a (pseudo) mask, averaged over the pixels that teach.

    A pixel of class c weighs n_c^(-balance), n_c the number of such pixels in the batch: 0 weighs pixels alike,
    1 classes.
    """
    teaches, weights = mask != IGNORED, None
    if balance > 0:
        classes = torch.arange(logits.shape[1], device=mask.device)
        counts = (mask.flatten() == classes[:, None]).sum(1).to(torch.float32)
        weights = counts.clamp(min=1) ** -balance
        weights = weights * counts.sum() / (weights * counts).sum().clamp(min=1e-6)
    loss = F.cross_entropy(logits.float(), mask, weights, ignore_index=IGNORED, reduction="sum")
    return Term(loss, teaches.sum().to(loss.dtype))

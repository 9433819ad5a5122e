"""Pixels that an expert has corrected.

m corrected patches of H x W pixels, which several processes share unequally; C classes.
"""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.composite import at_pixels, nothing_here
from lpdseg.losses.objective import Seen, Single
from lpdseg.losses.pseudo import IGNORED
from lpdseg.losses.term import Term, global_mean
from lpdseg.model.lpd import LPD


class Correction(Single):
    """Cross-entropy of the head, which makes the mask, at the corrected pixels alone, from the first step on."""

    titles: ClassVar[Mapping[str, str]] = {"correction": "corrected pixels, cross-entropy"}
    corrections = True

    def __init__(self, model: LPD, weight: float) -> None:
        super().__init__(weight)
        self.model = model

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`; `corrected` of the batch is needed."""
        if seen.corrected is None:
            return global_mean(nothing_here(self.model))
        assert seen.corrected_mask is not None
        return global_mean(correction_loss(at_pixels(seen.corrected, seen.batch["corrected"]), seen.corrected_mask))


def correction_loss(logits: Float[Tensor, "m C H W"], mask: Int[Tensor, "m H W"]) -> Term:
    """−log p_c(u), averaged over the corrected pixels u of each patch, then over the patches that have some.

    So a patch with one stroke teaches as much as one that is painted all over.

    **Arguments:**

    - `mask`: the class c of each pixel, `IGNORED` where nobody has said.
    """
    cost = F.cross_entropy(logits.float(), mask, ignore_index=IGNORED, reduction="none").sum((1, 2))
    pixels = (mask != IGNORED).sum((1, 2))
    return Term((cost / pixels.clamp(min=1)).sum(), (pixels > 0).sum().to(cost.dtype))

"""The segmentation head, taught with composites: images made of patches of one class each, whose masks are known.

N composites of H x W pixels, which several processes share unequally; see `lpdseg.data.composites`.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpdseg.losses.objective import Seen, Single
from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.model.encoded import features_of
from lpdseg.model.lpd import LPD


class Composite(Single):
    """Cross-entropy of the head with the masks of composites, from the first step on.

    **Arguments:**

    - `glass`: whether background is glass, which belongs to no class; a composite's mask does not know it.
    """

    titles: ClassVar[Mapping[str, str]] = {"composite": "composites, cross-entropy"}

    def __init__(self, model: LPD, weight: float, glass: bool) -> None:
        super().__init__(weight)
        self.model, self.glass = model, glass

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`; `composite` and `composite_mask` of the batch are needed, the latter without glass where
        the former has no channels."""
        composites, target = seen.batch["composite"], seen.batch["composite_mask"].long()
        if len(composites) == 0:
            # Those of this batch are all in other processes, which wait for this one's gradients: zeros.
            nothing = torch.stack([one.sum() for one in self.model.dense_parameters()]).sum() * 0.0
            return global_mean(Term(nothing, torch.zeros_like(nothing)))
        images = as_pixels(composites)
        height, width = target.shape[-2:]
        features = features_of(self.model.encoder, seen.batch, "composite")
        dense = self.model.dense(features).at_size((images.shape[-2], images.shape[-1]))
        target = target.masked_fill(target >= dense.shape[1], IGNORED)
        if self.glass and images.shape[1] > 0:
            target = target.masked_fill(glass_share(images)[:, 0, :height, :width] > 0.5, IGNORED)
        return global_mean(pseudo_mask_loss(dense[..., :height, :width], target))  # not over the mirrored edge

"""Prototypes of the dense map, taught the morphologies of their class.

n composites, C classes, k prototypes per class (at most), K in all; h x w pixels of the dense map.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.composite import nearest, nothing_here
from lpdseg.losses.objective import Objective, Seen
from lpdseg.losses.pseudo import IGNORED
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.merge import by_class
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Morphologies
from lpdseg.model.prototypes import Projection


class Morphology(Objective):
    """Cross-entropy of a pixel's shares among siblings with the morphologies of the patch that it was cut from.

    Beside it the prototypes themselves are told what they stand for: A_frozen(P_j) is turned towards the mean of
    component j. Nothing of the mixture learns from either: encoder and prototypes that descend one loss with what
    they are compared to collapse.

    **Arguments:**

    - `told`: A_frozen, from prototypes to the space of the mixture.
    """

    titles: ClassVar[Mapping[str, str]] = {
        "morphology": "morphologies, cross-entropy",
        "meaning": "prototypes and the means of their morphologies, 1 − cosine",
    }
    composites = True

    def __init__(self, model: LPD, weight: float, morphologies: Morphologies, told: Projection) -> None:
        super().__init__(weight if isinstance(model.head, PrototypeHead) else 0.0)
        self.model, self.morphologies, self.told = model, morphologies, told

    def __call__(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`; `composite_source` of the batch is needed."""
        head, morphologies = self.model.head, self.morphologies
        assert isinstance(head, PrototypeHead)
        if seen.composite is None:
            term = nothing_here(self.model)
        else:
            assert seen.composite_mask is not None
            logits = seen.composite.logits
            mask = nearest(seen.composite_mask, (logits.shape[-2], logits.shape[-1]))
            wanted = morphologies.of_patches(seen.batch["composite_source"])
            term = sibling_loss(logits, mask, wanted, head.slots, head.real & head.live[head.slots])
        taught = global_mean(term)
        meaning = meaning_loss(
            self.told(self.model.bank.weight), morphologies.means, head.live & (morphologies.weights > 0)
        )
        return taught + meaning, {"morphology": taught, "meaning": meaning}


def sibling_loss(
    joint: Float[Tensor, "n K h w"],
    mask: Int[Tensor, "n h w"],
    wanted: Float[Tensor, "n C k"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
) -> Term:
    """−Σ_j q_cj log r_cj(u), averaged over the pixels u of classes c with something to tell apart.

    r are the shares of siblings in the logit of their class, see `lpdseg.maps.merge.joint_logits`.

    **Arguments:**

    - `mask`: the class of each pixel, `IGNORED` where it has none.
    - `wanted`: q, which sums to 1, or to 0 where nothing is known.
    """
    keep = real[None, :, :, None, None]
    log_share = by_class(joint, slots).masked_fill(~keep, -1e4).log_softmax(2)
    cost = -(log_share * wanted[..., None, None]).sum(2)
    teaches = (wanted.sum(2) > 0) & (real.sum(1) >= 2)
    own = F.one_hot(mask.clamp(min=0), len(slots)).movedim(-1, 1) > 0
    own = own & (mask != IGNORED)[:, None] & teaches[..., None, None]
    return Term(torch.where(own, cost, 0.0).sum(), own.sum().to(cost.dtype))


def meaning_loss(
    told: Float[Tensor, "K d"], means: Float[Tensor, "K d"], live: Bool[Tensor, " K"]
) -> Float[Tensor, ""]:
    """The mean of 1 − cos(A_frozen(P_j), mean_j) over prototypes that take part and have a mean; 0 without any."""
    with torch.autocast(told.device.type, enabled=False):
        apart = 1 - F.cosine_similarity(told.float(), means, dim=1)
    return (apart * live).sum() / live.sum().clamp(min=1)

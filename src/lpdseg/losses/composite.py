"""The segmentation head, taught with composites: images made of patches of one class each, whose masks are known.

N composites of H x W pixels, which several processes share unequally; see `lpdseg.data.composites`.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.objective import Seen, Single
from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.model.encoded import features_of
from lpdseg.model.head import DenseMap
from lpdseg.model.lpd import LPD


class Composite(Single):
    """Cross-entropy of the head with the masks of composites, from the first step on."""

    titles: ClassVar[Mapping[str, str]] = {"composite": "composites, cross-entropy"}
    composites = True

    def __init__(self, model: LPD, weight: float) -> None:
        super().__init__(weight)
        self.model = model

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`."""
        if seen.composite is None:
            return global_mean(nothing_here(self.model))
        assert seen.composite_mask is not None
        return global_mean(
            pseudo_mask_loss(at_pixels(seen.composite, seen.batch["composite"]), seen.composite_mask)
        )


def at_pixels(dense: DenseMap, images: UInt8[Tensor, "n _channels H W"]) -> Float[Tensor, "n C H W"]:
    """The class logits of every pixel of images, which the network saw with their mirrored edge."""
    height, width = images.shape[-2:]
    padded = as_pixels(images).shape[-2:]
    return dense.at_size((padded[0], padded[1]))[..., :height, :width]


def nothing_here(model: LPD) -> Term:
    """Those of this batch are all in other processes, which wait for this one's gradients: zeros."""
    nothing = torch.stack([one.sum() for one in model.dense_parameters()]).sum() * 0.0
    return Term(nothing, torch.zeros_like(nothing))


def nearest(mask: Int[Tensor, "n H W"], size: tuple[int, int]) -> Int[Tensor, "n h w"]:
    """A mask at fewer pixels: each takes the value at its middle."""
    return F.interpolate(mask[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()


def look_at(
    name: str, model: LPD, batch: Mapping[str, Tensor], glass: bool
) -> tuple[DenseMap | None, Int[Tensor, "n H W"] | None]:
    """The dense map of what a batch has under `name`, and the class of each pixel; None where it has nothing there.

    **Arguments:**

    - `batch`: with `NAME` and `NAME_mask`, the latter without glass where the former has no channels.
    - `glass`: whether background is glass, which belongs to no class; the masks do not know it.
    """
    if len(batch[name]) == 0:
        return None, None
    images = as_pixels(batch[name])
    target = batch[f"{name}_mask"].long()
    height, width = target.shape[-2:]
    dense = model.dense(features_of(model.encoder, batch, name))
    target = target.masked_fill(target >= dense.classes.shape[1], IGNORED)
    if glass and images.shape[1] > 0:
        target = target.masked_fill(glass_share(images)[:, 0, :height, :width] > 0.5, IGNORED)
    return dense, target

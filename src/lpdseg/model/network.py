"""What every method's network gives: class maps with image-level logits, or dense logits, or both.

B images, C classes; scale l has H_l x W_l pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.choices import ImageMerge, Merge

if TYPE_CHECKING:
    from lpdseg.model.encoder import Encoder


@dataclass(frozen=True)
class Wanted:
    """What `Network.read` is asked for, in its order; `levels` rise."""

    levels: tuple[int, ...]
    merge: Merge
    image_merge: ImageMerge
    dense: bool


@dataclass
class Reading:
    """What a network says of a batch.

    - `maps`: class maps per scale, before activation.
    - `logits`: image-level logits per scale.
    - `dense`: logits per pixel from a segmentation head, at the finest scale, of P parts: prototypes or classes,
      see `Network.parts`; None where there is no head, or it was not asked for.
    """

    maps: dict[int, Float[Tensor, "B C H_l W_l"]] = field(default_factory=dict)
    logits: dict[int, Float[Tensor, "B C"]] = field(default_factory=dict)
    dense: Float[Tensor, "B _P H_0 W_0"] | None = None


class Network(nn.Module, ABC):
    """An encoder and what a method puts on it."""

    encoder: "Encoder"

    @property
    def scales(self) -> int:
        """How many scales the encoder has."""
        return len(self.encoder.widths)

    @property
    def stride(self) -> int:
        """Sides must be multiples of it, in pixels; see `Encoder.stride`."""
        return self.encoder.stride

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    @abstractmethod
    def has_head(self) -> bool:
        """Whether `read` can give dense logits."""

    @property
    def parts(self) -> tuple[int, ...] | None:
        """The class of each channel of dense logits, where they are prototypes; None where they are classes.

        A softmax over all of them gives each prototype's probability. The sum over a class is the class's.
        """
        return None

    @property
    def retired(self) -> frozenset[int]:
        """The channels of `parts` that take no part in the mask any more."""
        return frozenset()

    @property
    @abstractmethod
    def has_maps(self) -> bool:
        """Whether `read` can give class maps and image-level logits."""

    @abstractmethod
    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        levels: Collection[int],
        merge: Merge,
        image_merge: ImageMerge,
        dense: bool = False,
    ) -> Reading:
        """RGB in [0, 1] → class maps and logits of the scales asked for, and dense logits where asked for.

        `merge` and `image_merge` say how prototypes become classes in maps and in image-level logits; networks
        without prototypes have nothing to merge.
        """

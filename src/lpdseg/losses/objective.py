"""What a task minimises: a sum of objectives, each of which knows its name, its weight and from when it counts.

B images, C classes; scale l has H_l x W_l pixels, the image H x W.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from lpdseg.losses.chunks import Chunk
from lpdseg.model.head import DenseMap
from lpdseg.model.lpd import ScaleOutput


@dataclass(frozen=True)
class Seen:
    """One batch and what the network gave for it, computed once for all objectives; a task fills what it has.

    - `batch`: as the loader gives it.
    - `images`: RGB in [0, 1]; without channels where no objective reads pixels and features come with the batch.
    - `labels`: 0 or 1.
    - `done`: the share of the training's steps that lie behind, in [0, 1).
    - `logits`: image-level logits by scale.
    - `features`, `outputs`: the encoder's, finest scale first, and prototype maps by scale.
    - `dense`: class logits of every pixel.
    - `composite`: the dense map of the batch's composites, None where it has none here.
    - `composite_mask`: the class of each of their pixels, `lpdseg.losses.pseudo.IGNORED` on glass.
    - `corrected`, `corrected_mask`: the same of patches that an expert has corrected; all other pixels are ignored.
    """

    batch: Mapping[str, Tensor]
    images: Float[Tensor, "B _n H W"]
    labels: Float[Tensor, "B C"]
    done: float
    logits: Mapping[int, Float[Tensor, "B C"]] = field(default_factory=dict)
    features: Sequence[Tensor] = ()
    outputs: Mapping[int, ScaleOutput] = field(default_factory=dict)
    dense: Float[Tensor, "B C H W"] | None = None
    composite: DenseMap | None = None
    composite_mask: Int[Tensor, "n _H _W"] | None = None
    corrected: DenseMap | None = None
    corrected_mask: Int[Tensor, "m _H _W"] | None = None


class Objective(ABC):
    """One summand of a task's loss.

    **Arguments:**

    - `weight`: what it is multiplied by; an objective of weight 0 is not computed.
    - `start`, `stop`: the shares of the steps from which and until which it counts.
    - `levels`: the scales whose prototype maps it reads.
    """

    titles: ClassVar[Mapping[str, str]]
    """The figures that it reports, each with the title of its chart, in the order in which they are shown."""

    pixels: bool = False
    """Whether it reads the pixels of `Seen.images`."""

    chunk: Chunk | None = None
    """How many pairs it encodes at once, where it encodes pairs."""

    composites: bool = False
    """Whether it reads what there is of composites."""

    corrections: bool = False
    """Whether it reads what there is of corrected patches."""

    def __init__(
        self, weight: float = 1.0, start: float = 0.0, stop: float = 1.0, levels: Collection[int] = ()
    ) -> None:
        self.weight, self.start, self.stop, self.levels = weight, start, stop, tuple(levels)

    def counts(self, done: float) -> bool:
        """Whether it is computed after this share of the steps."""
        return self.weight > 0 and self.start <= done < self.stop

    @abstractmethod
    def __call__(self, seen: Seen) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What is minimised, before the weight, and what is reported: means over the batch of all processes."""


class Single(Objective):
    """An objective that reports what it minimises, under the only name in `titles`."""

    @abstractmethod
    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """What is minimised, over the batch of all processes."""

    def __call__(self, seen: Seen) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """See `Objective`."""
        found = self.mean(seen)
        (name,) = self.titles
        return found, {name: found}

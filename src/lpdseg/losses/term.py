"""A loss as a sum and a count, so that several processes can form the mean of the whole batch."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """`total / count` is the loss; `total` carries the gradient, `count` is how many things it sums over."""

    total: Float[Tensor, ""]
    count: Float[Tensor, ""]

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The loss; 0 where nothing was counted."""
        return self.total / self.count.clamp(min=1)

"""A loss as a sum and a count, so that several processes can form the mean of the whole batch."""

from dataclasses import dataclass

import torch
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


def global_mean(term: Term) -> Float[Tensor, ""]:
    """The mean over the batch of all processes, so scaled that averaging gradients over processes is exact."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return term.mean
    count = term.count.clone()
    torch.distributed.all_reduce(count)
    return term.total * torch.distributed.get_world_size() / count.clamp(min=1)

"""A loss as a sum and a count, so that several processes can form the mean of the whole batch."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


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
    if not _several():
        return term.mean
    count = term.count.clone()
    distributed.all_reduce(count)
    return term.total * distributed.get_world_size() / count.clamp(min=1)


def of_all(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """What each process has, side by side, for a loss that all of them then compute alike; of one shape in all.

    The gradient is so scaled that averaging it over processes is exact; for none does a process wait for another.
    """
    found: Tensor = _OfAll.apply(values) if _several() else values.unsqueeze(0)
    return found


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class _OfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        found = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, values.contiguous())
        return torch.stack(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient[distributed.get_rank()] * distributed.get_world_size()

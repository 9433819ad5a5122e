"""A loss of pairs through a frozen network, a few pairs at a time: memory is bounded however many there are.

N pairs with a map each of h x w pixels; K prototypes of width D.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

PairSums = Callable[[Tensor, Tensor, slice], tuple[Tensor, Tensor]]
"""Maps of some pairs, all prototypes, and which pairs they are → the sums of L_FG and of L_BG over them."""


def chunked_sums(
    sums: PairSums, maps: Float[Tensor, "N h w"], prototypes: Float[Tensor, "K D"], chunk: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Σ (L_FG + L_BG), which has a gradient, and both sums by themselves, which have none.

    The loss of a pair hangs on its own map and on the prototypes alone. So each chunk goes forwards and at once
    backwards, and only the gradients at maps and prototypes are kept: exact, with one forward and one backward pass
    in all, and the graph of one chunk in memory.
    """
    wanted = torch.is_grad_enabled() and (maps.requires_grad or prototypes.requires_grad)
    total, foreground, background = _ChunkedSums.apply(maps, prototypes, sums, chunk, wanted)
    return total, foreground, background


class _ChunkedSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, prototypes: Tensor, sums: PairSums, chunk: int, wanted: bool
    ) -> tuple[Tensor, ...]:
        map_gradient, prototype_gradient = torch.zeros_like(maps), torch.zeros_like(prototypes)
        totals = maps.new_zeros(2)
        for first in range(0, len(maps), chunk):
            part = slice(first, first + chunk)
            own = maps[part].detach().requires_grad_(wanted)
            shared = prototypes.detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                found = torch.stack(sums(own, shared, part))
                if wanted:
                    gradient, more = torch.autograd.grad(found.sum(), (own, shared))
                    map_gradient[part] = gradient
                    prototype_gradient += more
            totals += found.detach()
        ctx.save_for_backward(map_gradient, prototype_gradient)
        foreground, background = totals.unbind()
        ctx.mark_non_differentiable(foreground, background)
        return totals.sum(), foreground, background

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        map_gradient, prototype_gradient = ctx.saved_tensors
        return gradients[0] * map_gradient, gradients[0] * prototype_gradient, None, None, None

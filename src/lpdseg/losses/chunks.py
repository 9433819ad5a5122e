"""A loss of pairs through a frozen network, a few pairs at a time: memory is bounded however many there are.

N pairs with a map each of h x w pixels; K prototypes of width D.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

PairSums = Callable[[Tensor, Tensor, slice], tuple[Tensor, Tensor]]
"""Maps of some pairs, all prototypes, and which pairs they are → the sums of L_FG and of L_BG over them."""


_FEW = 4
"""Pairs at once on the CPU, whose memory is the machine's, and where more are no faster."""

_FIRST, _MOST = 16, 512
"""Pairs at once of which the memory is measured, and multiples of which are taken at most."""

_SHARE = 0.5
"""Of the free memory: other losses follow, and batches are not alike."""


class Chunk:
    """How many pairs go through the network at once: a number, or what half of the free memory has room for.

    The latter is chosen once, by what the first chunk needs, for it changes the order of sums.

    **Attributes:**

    - `size`: None until it is chosen; a run that goes on is given what it began with.
    """

    def __init__(self, wanted: int | Literal["auto"]) -> None:
        self.size = None if wanted == "auto" else wanted

    def go_on(self, chosen: int | None, wanted: int | Literal["auto"]) -> None:
        """With what was chosen for a run, or asked for before there was a choice; a number asked for now stands."""
        if self.size is None:
            self.size = chosen or Chunk(wanted).size

    def parts(self, count: int, device: torch.device) -> Iterator[slice]:
        """Cuts `count` pairs; the work on a part is done before the next is asked for."""
        if self.size is None and device.type != "cuda":
            self.size = _FEW
        first = 0
        while first < count:
            part, measured = slice(first, first + (self.size or _FIRST)), self.size is None
            if measured:
                torch.cuda.reset_peak_memory_stats(device)
                held = torch.cuda.memory_allocated(device)
            yield part
            if measured:
                needed = (torch.cuda.max_memory_allocated(device) - held) / min(_FIRST, count - first)
                unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
                self.size = fitting(torch.cuda.mem_get_info(device)[0] + unused, needed)
            first = part.stop


def fitting(free: int, needed: float) -> int:
    """The pairs at once for which there is room, of the bytes that are free and those that a pair needs."""
    return min(max(int(_SHARE * free / max(needed, 1)) // _FIRST, 1) * _FIRST, _MOST)


def chunked_sums(
    sums: PairSums, maps: Float[Tensor, "N h w"], prototypes: Float[Tensor, "K D"], chunk: Chunk
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
        ctx: Any, maps: Tensor, prototypes: Tensor, sums: PairSums, chunk: Chunk, wanted: bool
    ) -> tuple[Tensor, ...]:
        map_gradient, prototype_gradient = torch.zeros_like(maps), torch.zeros_like(prototypes)
        totals = maps.new_zeros(2)
        for part in chunk.parts(len(maps), maps.device):
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

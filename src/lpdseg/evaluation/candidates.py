"""Confusion matrices of many candidates at once, without computing a mask for each.

B patches of one size, S pixels of each, C classes, n channels of truth (background last), T candidates; of G = 2^C
gates, gate g opens class c where bit c of g is set. Rows of a matrix are truth, columns prediction. Everything
lies where the pixels do, and nothing is waited for.
"""

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from lpdseg.evaluation.counts import counted
from lpdseg.evaluation.sampled import SampledPixels


def masks_by_gate(pixels: SampledPixels, offsets: Float[Tensor, " C"]) -> list[UInt8[Tensor, "B S"]]:
    """The masks under every gate.

    The winner among some classes is that of all but the last of them, or the last one, so each gate follows from a
    smaller one. Of equals the first wins, as in prediction.
    """
    logits = _with_offsets(pixels, offsets)
    classes, shape = logits.shape[1], pixels.truth.shape
    best = [logits.new_full(shape, -torch.inf)]
    background = [-best[0]]
    winner = [torch.zeros(shape, dtype=torch.uint8, device=logits.device)]
    for gate in range(1, 1 << classes):
        last = gate.bit_length() - 1
        rest, own = gate ^ (1 << last), logits[:, last]
        winner.append(winner[rest].masked_fill(own > best[rest], last))
        best.append(torch.maximum(best[rest], own))
        if pixels.background is not None:
            background.append(
                torch.minimum(background[rest], pixels.background[:, last % pixels.background.shape[1]])
            )
    if pixels.background is None:
        return [winner[-1], *winner[1:]]  # where nothing passes everything does: each pixel belongs to a class
    return [
        found.masked_fill(behind > top, classes)
        for found, top, behind in zip(winner, best, background, strict=True)
    ]


def confusion_by_gate(pixels: SampledPixels, offsets: Float[Tensor, " C"]) -> Int[Tensor, "B G n n"]:
    """The confusion matrix of every patch under every gate, int32."""
    n = pixels.channels
    patch = torch.arange(len(pixels), dtype=torch.int32, device=pixels.truth.device)[:, None]
    rows = (patch * (n + 1) + _truth(pixels)) * n
    counts = [counted(rows + mask, len(pixels) * (n + 1) * n) for mask in masks_by_gate(pixels, offsets)]
    return torch.stack(counts).view(len(counts), len(pixels), n + 1, n)[:, :, :n].int().swapaxes(0, 1)


def confusion_by_offset(
    pixels: SampledPixels,
    gate: Bool[Tensor, "B C"],
    offsets: Float[Tensor, " C"],
    c: int,
    candidates: Float[Tensor, " T"],
) -> Int[Tensor, "T n n"]:
    """The confusion matrix of all patches, for each offset that class `c` could have while the others keep theirs.

    A pixel goes to `c` from some candidate on, and below it to the strongest of the other channels. Counting the
    pixels by truth, that rival and the candidates at which `c` loses gives every matrix by sums over the last.

    **Arguments:**

    - `candidates`: ascending.
    """
    n, opened, number = pixels.channels, gate, len(candidates)
    if pixels.background is None:
        opened = opened | ~opened.any(1, keepdim=True)
    best, rival = _strongest_other(pixels, opened, offsets, c)
    # Of equals the first wins: `c` must be above a rival before it, and only not below one behind it.
    bar = torch.where(rival < c, best.nextafter(best.new_full((), torch.inf)), best)
    own = pixels.logits[:, c].masked_fill(~opened[:, c, None], -torch.inf)
    lost = torch.zeros_like(rival, dtype=torch.int32)
    for offset in candidates.to(own.dtype):
        lost += own + offset < bar
    places = (_truth(pixels) * n + rival) * (number + 1) + lost
    histogram = counted(places, (n + 1) * n * (number + 1)).view(n + 1, n, number + 1)[:n]
    won = histogram.cumsum(2)[..., :-1]  # truth x rival x candidate: pixels that `c` takes from the rival
    matrices = (histogram.sum(2, keepdim=True) - won).movedim(2, 0)
    matrices[:, :, c] += won.sum(1).T
    return matrices


def _strongest_other(
    pixels: SampledPixels, gate: Bool[Tensor, "B C"], offsets: Float[Tensor, " C"], c: int
) -> tuple[Float[Tensor, "B S"], Int[Tensor, "B S"]]:
    """The highest logit but that of `c`, −inf where there is no other, and whose it is."""
    closed = ~gate[:, :, None]
    others = _with_offsets(pixels, offsets).masked_fill(closed, -torch.inf)
    others[:, c] = -torch.inf
    if pixels.background is not None:
        background = pixels.background.masked_fill(closed, torch.inf).amin(1, keepdim=True)
        others = torch.cat([others, background], 1)
    best, rival = others.max(1)
    return best, rival.int()


def _with_offsets(pixels: SampledPixels, offsets: Float[Tensor, " C"]) -> Float[Tensor, "B C S"]:
    return pixels.logits + offsets.to(pixels.logits.dtype)[:, None]


def _truth(pixels: SampledPixels) -> Int[Tensor, "B S"]:
    """`n` where a pixel does not count."""
    return pixels.truth.clamp(max=pixels.channels).int()

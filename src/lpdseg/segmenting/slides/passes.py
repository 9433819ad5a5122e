"""Adding windows that overlap without races and without a kernel for each: all at once that do not overlap.

A strip holds n channels and W pixels of a row of windows, each w x w pixels; k windows of a pass.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import count

import torch
from jaxtyping import Float32, Shaped, UInt8
from torch import Tensor


class StripSum:
    """What windows of a strip add up to, some of them after others.

    **Arguments:**

    - `offsets`: x of each window in the strip, rising.
    - `weight`: of a window's pixels, positive.
    """

    def __init__(self, offsets: tuple[int, ...], weight: Float32[Tensor, "w w"]) -> None:
        self._offsets, self._weight = offsets, weight
        self._added = 0
        self._sums: list[Tensor] = []
        self._won: list[Tensor] = []  # winners; weight and number of the heaviest window, the first of equals

    @property
    def found(self) -> list[Tensor]:
        """Σ weight · probability, n x w x W; where winners were added also those of the heaviest windows."""
        return [*self._sums, *self._won[:1]]

    def add(
        self, probabilities: Float32[Tensor, "k n w w"], winners: UInt8[Tensor, "k C w w"] | None = None
    ) -> None:
        """The next windows. Their probabilities are written over."""
        weight, side, first = self._weight, len(self._weight), self._added
        across = self._offsets[-1] + side
        self._added += len(probabilities)
        if not self._sums:
            self._sums = [probabilities.new_zeros(probabilities.shape[1], side, across)]
        if winners is not None and not self._won:
            numbers = weight.new_zeros(side, across, dtype=torch.long)
            self._won = [winners.new_zeros(winners.shape[1], side, across), weight.new_zeros(side, across), numbers]
        probabilities.mul_(weight)
        for group in disjoint_passes(self._offsets, side, range(first, self._added)):
            chosen = slice(group.start - first, group.stop - first, group.step)
            windows_of(self._sums[0], self._offsets, group).add_(probabilities[chosen])
            if winners is not None:
                won, heaviest, holder = (windows_of(strip, self._offsets, group) for strip in self._won)
                number = torch.arange(group.start, group.stop, group.step, device=weight.device)[:, None, None]
                heavier = (weight > heaviest) | ((weight == heaviest) & (number < holder))
                won.copy_(torch.where(heavier[:, None], winners[chosen], won))
                holder.copy_(torch.where(heavier, number, holder))
                heaviest.copy_(torch.maximum(weight, heaviest))


@lru_cache(maxsize=1024)
def disjoint_passes(offsets: tuple[int, ...], window: int, some: range) -> tuple[range, ...]:
    """Windows of a strip, by number, in groups that can be added at once, in the order of the groups.

    Windows of a group do not overlap, and lie evenly. Where a pixel is in more than two windows, the earlier ones
    are in earlier groups; of two the order does not matter to a sum. So sums are those of one window after another,
    to the bit. Up to an overlap of a half, two groups hold all but the last windows of a row.

    **Arguments:**

    - `offsets`: x of each window, rising.
    - `some`: those to be added now; the ones before have been.
    """
    levels: dict[int, int] = {}
    for j in some:
        over = [i for i in levels if offsets[i] + window > offsets[j]]
        least = max((levels[i] + 1 for i in over if _shared_by_more(offsets, window, i, j)), default=0)
        taken = {levels[i] for i in over}
        levels[j] = next(level for level in count(least) if level not in taken)
    passes = [[j for j in some if levels[j] == level] for level in sorted(set(levels.values()))]
    return tuple(group for numbers in passes for group in _even(numbers, offsets))


def _shared_by_more(offsets: Sequence[int], window: int, i: int, j: int) -> bool:
    """Whether a pixel of two windows that overlap, i before j, is in a third."""
    before = i > 0 and offsets[i - 1] + window > offsets[j]
    after = j + 1 < len(offsets) and offsets[j + 1] < offsets[i] + window
    return j > i + 1 or before or after


def _even(numbers: Sequence[int], offsets: Sequence[int]) -> list[range]:
    """The same numbers in order, as runs between which numbers and places are equally far."""
    groups: list[list[int]] = []
    for number in numbers:
        held = groups[-1] if groups else []
        if len(held) > 1 and (number - held[-1], offsets[number] - offsets[held[-1]]) != (
            held[1] - held[0],
            offsets[held[1]] - offsets[held[0]],
        ):
            held = []
        if not held:
            groups.append(held)
        held.append(number)
    return [range(held[0], held[-1] + 1, held[1] - held[0] if len(held) > 1 else 1) for held in groups]


def windows_of(strip: Shaped[Tensor, "*n w W"], offsets: Sequence[int], group: range) -> Shaped[Tensor, "k *n w w"]:
    """The places of a group in a contiguous strip, as one view of it: what is written there is in the strip."""
    first, side = offsets[group[0]], strip.shape[-2]
    apart = offsets[group[1]] - first if len(group) > 1 else 0
    shape = (len(group), *strip.shape[:-1], side)
    return strip.as_strided(shape, (apart, *strip.stride()), strip.storage_offset() + first)

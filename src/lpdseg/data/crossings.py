"""How often what a file draws may cross: each crossing costs time and memory where outlines are repaired, joined or
cut out of one another, and some thousand points can hold millions.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

_FREE = 8
"""Sides that a side may lie beside: itself, its neighbours, those of a border that two outlines share."""

_MOST, _MOST_OF_FILE = 100_000, 1_000_000
"""Pairs of sides beyond these, each counted from both: of one feature, and of a file. A hundred thousand take up to
a second and a hundred MiB, in whichever way they cross."""

_BLOCK, _AT_ONCE = 8192, 1024


class Crossings:
    """What is `left` of a file's allowance.

    Sides are taken for the boxes around them, so that there is no way to cross, touch or lie upon one another that
    is not counted, and some that only come near are.
    """

    def __init__(self) -> None:
        self.left = _MOST_OF_FILE

    def count(self, lines: Sequence[Float[np.ndarray, "_n 2"]], most: int = _MOST) -> None:
        """Takes off what the sides of lines, or rings whose last point is the first, cross or come near to.

        **Raises:** `ValueError` where that is too much.
        """
        low = np.concatenate([np.minimum(line[:-1], line[1:]) for line in lines])
        high = np.concatenate([np.maximum(line[:-1], line[1:]) for line in lines])
        most = min(most, self.left)
        spent = 0
        for first in range(0, len(low), _BLOCK):
            block = slice(first, first + _BLOCK)
            spent += int(np.maximum(_beside(low[block], high[block], low, high, most) - _FREE, 0).sum())
            if spent > most:
                raise ValueError("it crosses itself or others, or runs beside them, too many times")
        self.left -= spent


def _beside(
    low: Float[np.ndarray, " b 2"],
    high: Float[np.ndarray, " b 2"],
    lows: Float[np.ndarray, " n 2"],
    highs: Float[np.ndarray, " n 2"],
    most: int,
) -> Int[np.ndarray, " b"]:
    """How many of n boxes each of b meets; it may stop once these are more than `most` beyond what is free."""
    near = np.flatnonzero(((lows <= high.max(0)) & (highs >= low.min(0))).all(1))
    lows, highs = lows[near], highs[near]
    found = np.zeros(len(low), np.int64)
    if len(low) * len(lows) <= _BLOCK:
        return np.asarray(((low[:, None] <= highs) & (high[:, None] >= lows)).all(2).sum(1))
    import shapely

    tree = shapely.STRtree(shapely.box(*low.T, *high.T))
    for first in range(0, len(lows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        met = tree.query(shapely.box(*lows[part].T, *highs[part].T))[1]
        found += np.bincount(met, minlength=len(low))
        if found.sum() > most + _FREE * len(low):
            break
    return found

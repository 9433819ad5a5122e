"""Which patches are shown of a split: all that have a mask are ranked, and some taken from the best to the worst.

C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpdseg.errors import DataError
from lpdseg.evaluation.worst import PatchFigures, worst_together

_SMALLEST_SHARE = 0.05
"""A class counts as shown in a patch from this share of the pixels on, as in the labels of the data sets."""


@dataclass(frozen=True)
class Ranked:
    """Patches from the best to the worst, in the order of `evaluate --worst` turned round.

    - `known`: how many patches have a mask in which a pixel counts.
    - `mixed`: whether only those that truly show two classes or more are ranked: a patch of one tissue is right or
      wrong as a whole, and shows little.
    """

    patches: tuple[PatchFigures, ...]
    known: int
    mixed: bool


def rank(figures: Sequence[PatchFigures], needed: int, split: str) -> Ranked:
    """Ranks patches by pixel accuracy; those of two classes or more alone where there are `needed` of them.

    **Raises:** `DataError` where no mask of them has a pixel that counts.
    """
    known = [one for (one,) in reversed(worst_together([figures]))]
    if not known:
        raise DataError(f"no mask of the split {split!r} has a pixel that counts, so there is nothing to show")
    mixed = [one for one in known if _shown(one) >= 2]
    narrowed = needed <= len(mixed) < len(known)
    return Ranked(tuple(mixed if narrowed else known), len(known), narrowed)


def _shown(figures: PatchFigures) -> int:
    """How many channels a patch truly shows."""
    return int((figures.confusion.sum(1) >= _SMALLEST_SHARE * figures.pixels).sum())


def spread(ranked: Sequence[PatchFigures], count: int, *, told: bool = False) -> list[tuple[str, PatchFigures]]:
    """Takes `count` patches at even ranks: from the best over the median to the worst.

    With fewer than three patches the best comes first, then the worst.

    `told`: whether best, median and worst say of how many they are.

    **Returns:** each with its rank in words, such as `best` or `rank 12 of 60`.
    """
    number = len(ranked)
    count = min(count, number)
    middle = (count - 1) // 2
    # Through whole ranks at both ends and the median, so that no patch is taken twice.
    marks = {0: 0, middle: (number - 1) // 2, count - 1: number - 1} if count >= 3 else {0: 0, 1: number - 1}
    places = np.interp(np.arange(count), list(marks), list(marks.values())).round().astype(int).tolist()
    names = {0: "best", count - 1: "worst"} if count > 1 else {0: "best"}
    if count >= 3:
        names[middle] = "median"
    of = f" of {number}"
    words = {index: name + of if told else name for index, name in names.items()}
    return [(words.get(index, f"rank {place + 1}{of}"), ranked[place]) for index, place in enumerate(places)]

"""How the prototypes of a class are used: pure functions of their maps, and of counts of won pixels.

K prototypes in all, k of one class, P true pixels of that class in one patch, S sub-types.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_DEAD = 0.01


@dataclass(frozen=True)
class Usage:
    """What the k prototypes of a class do on the P true pixels of that class in one patch.

    - `winner`: argmax over the class's own prototypes of their values, 0..k-1.
    - `strength`: the winner's value.
    - `claimed`: where the class is above every other class. No gate and no refinement.
    - `shrinkage`: 1 - |R_j| / |claimed|, where j is the prototype that wins most of these pixels, and R_j those
      where j alone is above every other class: the share of the claimed region that would be lost with j alone. NaN
      where nothing is claimed.
    """

    winner: Int[Tensor, " P"]
    strength: Float[Tensor, " P"]
    claimed: Bool[Tensor, " P"]
    shrinkage: float


def usage(values: Float[Tensor, "K P"], class_of: Int[Tensor, " K"], index: int, dense: bool) -> Usage:
    """Who wins, what is claimed, and what the most active prototype of class `index` alone would miss.

    `values` are probabilities where `dense`, and a class has their sum; else cosines, and a class has the highest.
    A tie between classes claims nothing; a tie between siblings is won by the first.
    """
    parts = [values[class_of == other] for other in range(int(class_of.max()) + 1)]
    scores = [part.sum(0) if dense else part.amax(0) for part in parts]
    mine, score = parts[index], scores.pop(index)
    strength, winner = mine.max(0)
    rival = torch.stack(scores).amax(0) if scores else torch.full_like(strength, -torch.inf)
    claimed = score > rival
    area = int(claimed.sum())
    alone = int((mine[int(winner.bincount(minlength=len(mine)).argmax())] > rival).sum())
    return Usage(winner, strength, claimed, 1 - alone / area if area else float("nan"))


def is_dead(shares: Float[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """Prototypes whose winning share is below 1 % of an equal share: share < 0.01 / k."""
    dead: Bool[np.ndarray, " k"] = shares < _DEAD / len(shares)
    return dead


def mean_share(
    part: Int[np.ndarray, "*draws S"], whole: Int[np.ndarray, "*draws S"]
) -> Float[np.ndarray, "*draws"]:
    """The mean over sub-types of part / whole, each sub-type counting once; NaN where there is none."""
    there = whole > 0
    shares = np.where(there, part / np.maximum(whole, 1), 0.0)
    count = there.sum(-1)
    return np.where(count > 0, shares.sum(-1) / np.maximum(count, 1), np.nan)


def share_interval(
    part: Int[np.ndarray, "A S"],
    whole: Int[np.ndarray, "A S"],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The percentile bootstrap interval of `mean_share` over A patients, who are drawn with replacement.

    A sub-type that a resample does not hold does not count in it. None with fewer than two patients.
    """
    patients = len(whole)
    if patients < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    values = mean_share(drawn @ part, drawn @ whole)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

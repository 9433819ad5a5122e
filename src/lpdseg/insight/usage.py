"""How the prototypes of a class are used: pure functions of cosines, and of counts of won pixels.

K prototypes in all, k of one class, P true pixels of that class in one patch, S sub-types; H x W pixels of a patch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lpdseg.maps.normalise import unit_range

_DEAD = 0.01

_ALPHA = 0.5
"""The contrast's α (method §2), at its published value for all runs that are compared."""


@dataclass(frozen=True)
class Usage:
    """What the k prototypes of a class do on the P true pixels of that class in one patch.

    - `winner`: argmax over the class's own prototypes of the cosine, 0..k-1.
    - `strength`: the winner's cosine.
    - `claimed`: where the winner is above every prototype of the other classes. No gate and no refinement.
    - `shrinkage`: 1 - |R_j| / |claimed|, where j is the prototype that wins most of these pixels, and R_j those
      where j alone is above every prototype of the other classes: the share of the claimed region that would be
      lost with j alone. NaN where nothing is claimed.
    """

    winner: Int[Tensor, " P"]
    strength: Float[Tensor, " P"]
    claimed: Bool[Tensor, " P"]
    shrinkage: float


def usage(cosine: Float[Tensor, "K P"], own: Bool[Tensor, " K"]) -> Usage:
    """Who wins, what is claimed, and what the most active prototype alone would miss; `own` marks the class's k.

    A tie between classes claims nothing; a tie between siblings is won by the first.
    """
    mine, others = cosine[own], cosine[~own]
    strength, winner = mine.max(0)
    rival = others.amax(0) if len(others) else torch.full_like(strength, -torch.inf)
    claimed = strength > rival
    area = int(claimed.sum())
    alone = int((mine[int(winner.bincount(minlength=len(mine)).argmax())] > rival).sum())
    return Usage(winner, strength, claimed, 1 - alone / area if area else float("nan"))


def foregrounds(cosine: Float[Tensor, "K H W"]) -> Bool[Tensor, "K H W"]:
    """What each prototype takes for its foreground in a patch: M = [a ≥ α · max a], as in the contrast (method §2).

    a is the prototype's map, min–max normalised over the patch; α is 0.5.
    """
    inside: Bool[Tensor, "K H W"] = unit_range(cosine) >= _ALPHA
    return inside


def is_dead(shares: Float[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """Prototypes whose winning share is below 1 % of an equal share: share < 0.01 / k."""
    dead: Bool[np.ndarray, " k"] = shares < _DEAD / len(shares)
    return dead


def mutual_information(joint: Int[np.ndarray, "S k"]) -> tuple[float, float] | None:
    """What the winning prototype J tells of the sub-type T, from how many pixels show each pair.

    I(T; J) = Σ p(t, j) log2(p(t, j) / (p(t) p(j))) in bits, and I(T; J) / H(T), which is 1 where the winner tells
    the sub-type for sure (Cover & Thomas 2006, §2.3). None with fewer than two sub-types, where there is nothing to
    tell.
    """
    total = joint.sum()
    if (joint.sum(1) > 0).sum() < 2:
        return None
    pair = joint / total
    information = _entropy(pair.sum(1)) + _entropy(pair.sum(0)) - _entropy(pair.ravel())
    information = max(0.0, information)
    return information, information / _entropy(pair.sum(1))


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


def _entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log2(known)).sum())

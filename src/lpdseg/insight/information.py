"""What winning prototypes tell of something else, and what they would tell of it by chance.

S sub-types, k prototypes of a class, N regions: all pixels of a class in one patch are a region.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_PERMUTATIONS = 200


@dataclass(frozen=True)
class Told:
    """What the winner tells of something else over N regions, in bits.

    - `bits`: I(winner; other).
    - `chance`: the same where the winner tells nothing, which with few regions is far from 0.
    - `entropy`: H(other), the most that can be told.
    """

    bits: float
    chance: float
    entropy: float


def tell(winner: Int[np.ndarray, " N"], other: Int[np.ndarray, " N"], given: Int[np.ndarray, " N"]) -> Told | None:
    """What the winner of each region tells of `other`, both counted from 0.

    `chance` is the mean over 200 permutations of `other` among regions that are alike in `given`. With patients for
    `other` and sub-types for `given`, patients who have sub-types of their own are part of it, and what lies above
    it is what looks like the patient alone, such as stain. None where `other` is the same in all regions.
    """
    if len(np.unique(other)) < 2:
        return None

    def bits(values: Int[np.ndarray, " N"]) -> float:
        joint: Int[np.ndarray, "S k"] = np.zeros((int(other.max()) + 1, int(winner.max()) + 1), np.int64)
        np.add.at(joint, (values, winner), 1)
        return _information(joint)

    random, by_group = np.random.default_rng(0), np.argsort(given, kind="stable")
    drawn, permuted = [], np.empty_like(other)
    for _ in range(_PERMUTATIONS):
        permuted[by_group] = other[np.lexsort((random.random(len(other)), given))]
        drawn.append(bits(permuted))
    return Told(bits(other), float(np.mean(drawn)), _entropy(np.bincount(other) / len(other)))


def mutual_information(joint: Int[np.ndarray, "S k"]) -> tuple[float, float] | None:
    """What the winning prototype J tells of the sub-type T, from how many pixels show each pair.

    I(T; J) = Σ p(t, j) log2(p(t, j) / (p(t) p(j))) in bits, and I(T; J) / H(T), which is 1 where the winner tells
    the sub-type for sure (Cover & Thomas 2006, §2.3). None with fewer than two sub-types, where there is nothing to
    tell.
    """
    if (joint.sum(1) > 0).sum() < 2:
        return None
    information = _information(joint)
    return information, information / _entropy(joint.sum(1) / joint.sum())


def purity(joint: Int[np.ndarray, "S k"]) -> tuple[float, float] | None:
    """The share of pixels whose sub-type is the commonest of those that their prototype wins; and that of one
    prototype, which wins all of them. None with fewer than two sub-types.
    """
    if (joint.sum(1) > 0).sum() < 2:
        return None
    return float(joint.max(0).sum() / joint.sum()), float(joint.sum(1).max() / joint.sum())


def _information(joint: Int[np.ndarray, "S k"]) -> float:
    pair = joint / joint.sum()
    return max(0.0, _entropy(pair.sum(1)) + _entropy(pair.sum(0)) - _entropy(pair.ravel()))


def _entropy(shares: Float[np.ndarray, " n"]) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log2(known)).sum())

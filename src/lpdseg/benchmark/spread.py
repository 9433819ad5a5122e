"""Means over training seeds, and what can be said of them with a handful of seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of one figure over seeds; the latter is None for one seed."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Spread | None":
        """Of the values that are there; None where none is."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        return cls(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None)


def seed_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval of the mean of paired differences over seeds (n - 1 degrees of freedom).

    For figures that have no patients to draw from; seeds are few, and t says so where a bootstrap of three would
    not. None with fewer than two.
    """
    n = len(differences)
    if n < 2:
        return None
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(differences))
    return mean - half, mean + half

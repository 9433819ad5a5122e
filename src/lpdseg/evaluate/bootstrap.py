"""How far the figures would move with other patients: percentile bootstrap.

Patches of one patient resemble one another, so patients are drawn, not patches or pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lpdseg.evaluate.confusion import Background, Scores

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """The interval (low, high) of each figure of `Scores`, as fractions in 0..1.

    A class that no resample holds has None.
    """

    miou: Interval | None
    mdice: Interval | None
    fwiou: Interval | None
    pixel_accuracy: Interval | None
    iou: tuple[Interval | None, ...]
    dice: tuple[Interval | None, ...]


def intervals(
    matrices: Int[np.ndarray, "P n n"],
    tissue: int,
    background: Background = "keep",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Intervals | None:
    """Percentile bootstrap intervals over patients (Efron & Tibshirani 1993, chapter 13).

    P patients are drawn with replacement, their matrices added up, and the figures read from the sum, as for
    the split itself. A class's figure is taken over the resamples that hold the class.

    **Arguments:**

    - `matrices`: one confusion matrix per patient, see `sum_by_patient`.
    - `tissue`, `background`: as for `Scores.of`.
    - `level`: the share of resamples between the two ends, between 0 and 1.
    - `resamples`, `seed`: how many draws, and the seed that makes them repeatable.

    **Returns:** None with fewer than 2 patients, where nothing can be said.
    """
    patients, n = matrices.shape[:2]
    if patients < 2:
        return None
    # How often each patient is drawn: a draw of P with replacement is a multinomial count.
    drawn = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    sums = drawn.astype(np.float64) @ matrices.reshape(patients, -1).astype(np.float64)
    scores = Scores.of(sums.reshape(resamples, n, n), tissue, background)
    return Intervals(
        miou=_interval(scores.miou, level),
        mdice=_interval(scores.mdice, level),
        fwiou=_interval(scores.fwiou, level),
        pixel_accuracy=_interval(scores.pixel_accuracy, level),
        iou=tuple(_interval(values, level) for values in scores.iou.T),
        dice=tuple(_interval(values, level) for values in scores.dice.T),
    )


def _interval(values: Float[np.ndarray, "R"], level: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

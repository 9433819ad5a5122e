"""How far the figures would move with other patients: percentile bootstrap.

Patches of one patient resemble one another, so patients are drawn, not patches or pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lpdseg.choices import Background
from lpdseg.evaluation.confusion import Scores

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


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval (low, high); the interval is None where nothing can be said of other patients."""

    value: float
    interval: Interval | None


def mean_miou(
    matrices: Int[np.ndarray, "S P n n"],
    tissue: int,
    background: Background = "keep",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The mean over training seeds of mIoU, and how far it would move with other patients and other seeds.

    Each draw takes P patients and, apart from that, S seeds with replacement (a two-way bootstrap, Owen 2007, "The
    pigeonhole bootstrap"). Percentile intervals of few patients are rather too narrow than too wide: of the
    variance of a mean over P they see (P - 1) / P.

    **Arguments:**

    - `matrices`: one confusion matrix per seed and patient; the patients are the same for all seeds.
    - `tissue`, `background`: as for `Scores.of`.
    - `level`, `resamples`, `seed`: as for `intervals`.

    **Returns:** fractions in 0..1. NaN where no class is in truth or prediction; no interval with fewer than 2
    patients. With one seed only patients are drawn.
    """
    value = float(_miou(matrices, tissue, background).mean())
    return Estimate(value, _two_way([(1.0, matrices)], tissue, background, level, resamples, seed))


def paired_difference(
    ours: Int[np.ndarray, "S P n n"],
    theirs: Int[np.ndarray, "S P n n"],
    tissue: int,
    background: Background = "keep",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The mean over seeds of mIoU(ours) - mIoU(theirs), and its interval.

    Each draw takes the same patients and the same seeds for both, so what makes a patient or a seed hard for both
    cancels. Otherwise as `mean_miou`.

    **Returns:** a difference of fractions, in -1..1. An interval without 0 tells the two apart.

    **Raises:** `ValueError` where the two are not of the same seeds and patients.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"matrices of shapes {ours.shape} and {theirs.shape} cannot be paired")
    value = (_miou(ours, tissue, background) - _miou(theirs, tissue, background)).mean()
    pair = [(1.0, ours), (-1.0, theirs)]
    return Estimate(float(value), _two_way(pair, tissue, background, level, resamples, seed))


def paired_classes(
    ours: Int[np.ndarray, "P n n"],
    theirs: Int[np.ndarray, "P n n"],
    tissue: int,
    background: Background = "keep",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """IoU(ours) - IoU(theirs) of each tissue class, and its interval: the same patients are drawn for both.

    **Returns:** differences of fractions, in -1..1; NaN for a class that truth and prediction of one do not hold.
    """
    patients, n = ours.shape[:2]
    drawn = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    drawn = np.vstack([np.ones(patients), drawn])  # first of all, each patient once
    ious = []
    for matrices in (ours, theirs):
        sums = drawn @ matrices.reshape(patients, -1).astype(np.float64)
        ious.append(Scores.of(sums.reshape(-1, n, n), tissue, background).iou[:, :tissue])
    differences = (ious[0] - ious[1]).T
    return tuple(
        Estimate(float(values[0]), None if patients < 2 else _interval(values[1:], level)) for values in differences
    )


def _miou(matrices: Int[np.ndarray, "S P n n"], tissue: int, background: Background) -> Float[np.ndarray, " S"]:
    return Scores.of(matrices.sum(1), tissue, background).miou


def _two_way(
    parts: list[tuple[float, np.ndarray]],
    tissue: int,
    background: Background,
    level: float,
    resamples: int,
    seed: int,
) -> Interval | None:
    """The interval of the signed sum over `parts` of mean mIoU, under the same draws of patients and seeds."""
    seeds, patients, n = parts[0][1].shape[:3]
    if patients < 2:
        return None
    draw = np.random.default_rng(seed)
    people = draw.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(np.float64)
    share = draw.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    total = np.zeros((resamples, seeds))
    for sign, matrices in parts:
        sums = np.einsum("rp,spij->rsij", people, matrices.astype(np.float64), optimize=True)
        total += sign * Scores.of(sums.reshape(resamples, seeds, n, n), tissue, background).miou
    return _interval(np.where(share > 0, share * total, 0).sum(1), level)


def _interval(values: Float[np.ndarray, " R"], level: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

"""One confusion matrix over all pixels of a split, and the figures that are read from it.

Shapes: n channels = C tissue classes, and background (index C) where the data set has one. Rows are truth,
columns are prediction. Figures are fractions in 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8
from numpy.typing import ArrayLike

from lpdseg.choices import Background
from lpdseg.errors import DataError
from lpdseg.tissue import IGNORE


def confusion_matrix(
    truth: UInt8[np.ndarray, "..."], predicted: UInt8[np.ndarray, "..."], channels: int
) -> Int[np.ndarray, "n n"]:
    """Counts the pixels of every pair (truth, prediction); matrices of patches add up to that of a split.

    **Arguments:**

    - `truth`, `predicted`: internal indices 0..n-1, of the same shape. Pixels with truth `IGNORE` are left
      out, whatever is predicted there.
    - `channels`: n, see `TissueClasses.channels`.

    **Returns:** int64 counts.

    **Raises:** `DataError` for shapes that differ and for indices outside 0..n-1.
    """
    if truth.shape != predicted.shape:
        raise DataError(
            f"a mask of shape {truth.shape} cannot be compared with a prediction of shape {predicted.shape}; "
            "give both the same size"
        )
    # All 256 x 256 pairs of bytes are counted, and stray values looked for in the small table, not in the pixels.
    pairs = truth.ravel().astype(np.uint16, casting="safe") * 256
    pairs += predicted.ravel().astype(np.uint8, casting="safe", copy=False)
    table = np.bincount(pairs, minlength=65536).reshape(256, 256)
    table[IGNORE] = 0
    for name, counts in (("mask", table.sum(1)), ("prediction", table.sum(0))):
        stray = np.flatnonzero(counts[channels:]) + channels
        if stray.size:
            raise DataError(
                f"a {name} holds the value {stray[0]}, but indices go from 0 to {channels - 1}; "
                "check the mask values of the tissue classes"
            )
    return table[:channels, :channels].astype(np.int64)


def sum_by_patient(
    matrices: Int[np.ndarray, "N n n"], patients: Sequence[str]
) -> tuple[tuple[str, ...], Int[np.ndarray, "P n n"]]:
    """Adds up the matrices of each patient's patches.

    **Returns:** the patients, sorted, and one matrix for each.
    """
    names, row = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    sums = np.zeros((len(names), *matrices.shape[1:]), np.int64)
    np.add.at(sums, row, matrices)
    return tuple(names.tolist()), sums


@dataclass(frozen=True)
class Scores:
    """The figures of one confusion matrix, or of many at once: `*batch` is empty for one.

    With t, f₊ and f₋ a class's true positive, false positive and false negative pixels over the split,
    IoU = t / (t + f₊ + f₋) and Dice = 2t / (2t + f₊ + f₋). A class that neither truth nor prediction holds
    has NaN for both and is left out of means, as in torchmetrics.

    **Attributes:**

    - `iou`, `dice`: per channel, background last where there is one. Background under `ignore` is NaN.
    - `miou`, `mdice`: means over tissue classes; background is never part of them.
    - `fwiou`: IoU weighted by the truth's share of pixels, over all channels whose truth counts.
    - `pixel_accuracy`: the share of counted pixels whose prediction is right.
    """

    iou: Float[np.ndarray, "*batch n"]
    dice: Float[np.ndarray, "*batch n"]
    miou: Float[np.ndarray, "*batch"]
    mdice: Float[np.ndarray, "*batch"]
    fwiou: Float[np.ndarray, "*batch"]
    pixel_accuracy: Float[np.ndarray, "*batch"]

    @classmethod
    def of(
        cls,
        matrix: Integer[np.ndarray, "*batch n n"] | Float[np.ndarray, "*batch n n"],
        tissue: int,
        background: Background = "keep",
    ) -> "Scores":
        """Reads the figures from confusion matrices.

        **Arguments:**

        - `matrix`: counts; n is `tissue`, or `tissue` + 1 where the last channel is background.
        - `tissue`: C, the number of tissue classes.
        - `background`: see `Background`; without a background channel both values mean the same.
        """
        counts = np.array(matrix, np.float64)  # exact below 2⁵³ pixels
        if background == "ignore":
            counts[..., tissue:, :] = 0
        hit = np.diagonal(counts, axis1=-2, axis2=-1)
        truth, predicted = counts.sum(-1), counts.sum(-2)
        if background == "ignore":
            predicted[..., tissue:] = 0  # background then is no class, only a way to miss
        total = truth.sum(-1)
        iou = _ratio(hit, truth + predicted - hit)
        return cls(
            iou=iou,
            dice=_ratio(2 * hit, truth + predicted),
            miou=mean_of_known(iou[..., :tissue]),
            mdice=mean_of_known(_ratio(2 * hit, truth + predicted)[..., :tissue]),
            fwiou=_ratio((truth * np.nan_to_num(iou)).sum(-1), total),
            pixel_accuracy=_ratio(hit.sum(-1), total),
        )


def mean_of_known(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """The mean over the last axis without its NaN entries; NaN where there is nothing else."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def _ratio(part: ArrayLike, whole: ArrayLike) -> Float[np.ndarray, "..."]:
    """`part` / `whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    result: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return result

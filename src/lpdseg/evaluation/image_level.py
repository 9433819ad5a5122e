"""Which classes an image holds: how well that is predicted, and where to cut the probabilities.

Shapes: N images, C tissue classes. A class counts as predicted where its probability ≥ its threshold.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from lpdseg.evaluation.confusion import mean_of_known


@dataclass(frozen=True)
class ImageLevelScores:
    """Image-level figures, fractions in 0..1; means leave out NaN.

    **Attributes:**

    - `f1`: F1 per class; NaN for a class that no image holds and none is predicted to hold.
    - `auc`: area under the ROC curve per class; NaN where all images hold the class or none does.
    """

    f1: Float[np.ndarray, " C"]
    auc: Float[np.ndarray, " C"]

    @property
    def mean_f1(self) -> float:
        """Mean F1 over the classes that have one, else NaN."""
        return float(mean_of_known(self.f1))

    @property
    def mean_auc(self) -> float:
        """Mean AUC over the classes that have one, else NaN."""
        return float(mean_of_known(self.auc))


def score_images(
    probabilities: Float[np.ndarray, "N C"],
    truth: Integer[np.ndarray, "N C"],
    thresholds: Float[np.ndarray, " C"],
) -> ImageLevelScores:
    """F1 at the thresholds, and AUC, per class.

    **Arguments:**

    - `probabilities`: in 0..1.
    - `truth`: 1 where the image holds the class, else 0.
    - `thresholds`: one per class, see `choose_thresholds`.
    """
    from sklearn.metrics import roc_auc_score

    held, predicted = truth == 1, probabilities >= thresholds
    hit = (held & predicted).sum(0)
    size = held.sum(0) + predicted.sum(0)
    f1 = np.divide(2.0 * hit, size, out=np.full(len(thresholds), np.nan), where=size > 0)
    auc = [
        roc_auc_score(held[:, c], probabilities[:, c]) if 0 < held[:, c].sum() < len(held) else np.nan
        for c in range(held.shape[1])
    ]
    return ImageLevelScores(f1=f1, auc=np.array(auc, np.float64))


def choose_thresholds(
    probabilities: Float[np.ndarray, "N C"], truth: Integer[np.ndarray, "N C"]
) -> Float[np.ndarray, " C"]:
    """The threshold of maximal F1 for each class, from images that are not the ones to be scored.

    Candidates lie midway between neighbouring scores, the lowest midway between 0 and the smallest score, so
    that a class that every image holds is always predicted. Of equal candidates the one nearest 0.5 is taken,
    then the lower. A class that no image holds gets 0.5.

    **Arguments:** as for `score_images`.

    **Returns:** float64 thresholds in 0..1.
    """
    columns = zip(probabilities.T.astype(np.float64), truth.T == 1, strict=True)
    return np.array([_choose(scores, held) for scores, held in columns], np.float64)


def _choose(scores: Float[np.ndarray, " N"], held: Bool[np.ndarray, " N"]) -> float:
    if not held.any():
        return 0.5
    order = np.argsort(scores)
    values, first = np.unique(scores[order], return_index=True)
    # Predicted from position `first` on: hits are those held there, the rest of the sum needs no loop.
    hit = np.cumsum(held[order][::-1])[::-1][first]
    f1 = 2 * hit / (len(scores) - first + held.sum())
    below = np.concatenate([[0.0], values[:-1]])
    middle = below + (values - below) / 2
    candidates = np.where(middle > below, middle, values)  # neighbours in float: nothing lies between
    best = candidates[f1 == f1.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])

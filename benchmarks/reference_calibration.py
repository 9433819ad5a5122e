"""Calibration as one would write it first: every candidate's masks are computed anew, background included."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lpdseg.evaluation.calibration import _ascend
from lpdseg.evaluation.objective import Objective
from lpdseg.evaluation.split import ObservedSplit
from lpdseg.maps.labelling import likeliest
from lpdseg.maps.sampling import every
from lpdseg.segmenting.segmenter import Calibration, Segmenter

_STEP = 4


class PlainObjective(Objective):
    """The same objective; each mask comes from `Segmenter.logits`, as in prediction."""

    def __init__(self, segmenter: Segmenter, observed: ObservedSplit) -> None:
        super().__init__(segmenter, observed)
        self.observed = observed
        places = [tuple(every(_STEP, side) for side in evidence.size) for evidence in observed.evidence]
        self.scores = [
            segmenter.fuse(evidence)[:, :, rows, columns].contiguous()
            for evidence, (rows, columns) in zip(observed.evidence, places, strict=True)
        ]
        self.truth = [
            batch.masks[:, rows, columns] for batch, (rows, columns) in zip(observed.batches, places, strict=True)
        ]

    def of_offsets(
        self, gate: Bool[np.ndarray, "N C"], offsets: Float[np.ndarray, " C"], c: int, candidates: np.ndarray
    ) -> list[float]:
        """See `Objective.of_offsets`."""
        found = []
        for candidate in candidates:
            tried = offsets.copy()
            tried[c] = candidate
            found.append(self._miou(np.concatenate(list(self._confusions(gate, tried))).sum(0)))
        return found

    def by_gate(self, offsets: Float[np.ndarray, " C"]) -> Int[np.ndarray, "N G n n"]:
        """See `Objective.by_gate`."""
        sets = (np.arange(1 << self.classes)[:, None] >> np.arange(self.classes)) & 1 > 0
        of_all = (np.broadcast_to(gate, self.probabilities.shape) for gate in sets)
        return np.stack([np.concatenate(list(self._confusions(gate, offsets))) for gate in of_all], 1)

    def _confusions(
        self, gate: Bool[np.ndarray, "N C"], offsets: Float[np.ndarray, " C"]
    ) -> Iterator[Int[np.ndarray, "B n n"]]:
        calibration = Calibration(torch.zeros(self.classes), torch.from_numpy(offsets).float())
        segmenter, first, n = self.segmenter.calibrated(calibration), 0, self.segmenter.classes.channels
        for batch, scores, truth in zip(self.observed.batches, self.scores, self.truth, strict=True):
            opened = torch.from_numpy(gate[first : first + len(truth)].copy())
            first += len(truth)
            masks = likeliest(segmenter.logits(scores, opened, segmenter.glass(batch.images, _STEP))).numpy()
            counted = truth < n
            patch = np.broadcast_to(np.arange(len(truth))[:, None, None], truth.shape)
            places = (patch[counted] * n + truth[counted].astype(np.int64)) * n + masks[counted]
            yield np.bincount(places, minlength=len(truth) * n * n).reshape(len(truth), n, n)


def plain_calibrate(segmenter: Segmenter, observed: ObservedSplit) -> Calibration:
    """What `calibrate` chooses, with offsets, for at most five classes."""
    objective = PlainObjective(segmenter, observed)
    starts = observed.thresholds(), np.full(objective.classes, 0.5)
    return max((_ascend(objective, start, True) for start in starts), key=lambda one: one.miou).calibration()

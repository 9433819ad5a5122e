"""What calibration makes as high as it can: mIoU of a split at the predicted gate.

N patches, C classes, n channels, T candidates; G = 2^C gates, see `lpdseg.evaluation.candidates`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lpdseg.evaluation.candidates import confusion_by_gate, confusion_by_offset
from lpdseg.evaluation.confusion import Scores
from lpdseg.evaluation.sampled import sample_split
from lpdseg.evaluation.split import ObservedSplit
from lpdseg.maps.gate import open_gate
from lpdseg.segmenting.segmenter import Segmenter


class Objective:
    """mIoU of a split at the predicted gate, without refinement, under any thresholds and offsets.

    Thresholds act on a mask only through its gate, so counting the pixels once under every gate serves all
    thresholds; and one count per class serves all its offsets, see `lpdseg.evaluation.candidates`.
    """

    def __init__(self, segmenter: Segmenter, observed: ObservedSplit) -> None:
        self.segmenter, self.probabilities = segmenter, observed.probabilities
        self.pixels = sample_split(segmenter, observed)
        self.classes = len(segmenter.classes)
        self._without_offsets: Int[np.ndarray, "N G n n"] | None = None  # every start begins there

    def gate(self, thresholds: Float[np.ndarray, " C"]) -> Bool[np.ndarray, "N C"]:
        """The classes that may appear in each patch."""
        opened: np.ndarray = open_gate(
            "predicted",
            torch.from_numpy(self.probabilities),
            torch.from_numpy(thresholds.astype(self.probabilities.dtype)),
            None,
            may_be_empty=self.segmenter.settings.background == "power",
        ).numpy()
        return opened

    def of(self, thresholds: Float[np.ndarray, " C"], offsets: Float[np.ndarray, " C"]) -> float:
        """mIoU of one choice."""
        return self.of_offsets(self.gate(thresholds), offsets, 0, offsets[:1])[0]

    def of_thresholds(self, table: Int[np.ndarray, "N G n n"], thresholds: Float[np.ndarray, " C"]) -> float:
        """mIoU from what `by_gate` counts."""
        chosen = self.gate(thresholds) @ (1 << np.arange(self.classes))
        return self._miou(table[np.arange(len(chosen)), chosen].sum(0))

    def by_gate(self, offsets: Float[np.ndarray, " C"]) -> Int[np.ndarray, "N G n n"]:
        """The confusion matrix of every patch under every gate."""
        if offsets.any():
            return self._by_gate(offsets)
        if self._without_offsets is None:
            self._without_offsets = self._by_gate(offsets)
        return self._without_offsets

    def of_offsets(
        self,
        gate: Bool[np.ndarray, "N C"],
        offsets: Float[np.ndarray, " C"],
        c: int,
        candidates: Float[np.ndarray, " T"],
    ) -> list[float]:
        """mIoU for each candidate as the offset of class `c`, in the place of its own among `offsets`."""
        opened = torch.from_numpy(gate).to(self.pixels[0].logits.device)
        parts = zip(self.pixels, opened.split([len(part) for part in self.pixels]), strict=True)
        others, tried = self._placed(offsets), self._placed(candidates)
        total = torch.stack([confusion_by_offset(*part, others, c, tried) for part in parts]).sum(0)
        return [self._miou(confusion) for confusion in total.cpu().numpy()]

    def _by_gate(self, offsets: Float[np.ndarray, " C"]) -> Int[np.ndarray, "N G n n"]:
        placed = self._placed(offsets)
        counts: np.ndarray = torch.cat([confusion_by_gate(part, placed) for part in self.pixels]).cpu().numpy()
        return counts

    def _placed(self, values: Float[np.ndarray, " N"]) -> Float[Tensor, " N"]:
        """Once for all parts: each upload is waited for."""
        logits = self.pixels[0].logits
        return torch.from_numpy(values).to(logits.dtype).to(logits.device)

    def _miou(self, confusion: Int[np.ndarray, "n n"]) -> float:
        return float(Scores.of(confusion, self.classes).miou)

"""Image-level thresholds chosen on validation masks, for the figure that is quoted: mIoU at the predicted gate.

N patches, C classes, n channels; a gate opens one of 2^C sets of classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.evaluate.confusion import Scores, confusion_matrix
from lpdseg.evaluate.split import LabelledBatch, ObservedSplit
from lpdseg.maps.gate import open_gate
from lpdseg.segment.segmenter import Evidence, Segmenter

_STRIDE = 4
"""Masks are compared at every fourth pixel: the choice among gates does not hang on edges."""

_MOST_CLASSES = 5
"""Above this number of classes the sets are too many, and thresholds of best image-level F1 are taken."""

_CANDIDATES = 40


def choose_gate_thresholds(segmenter: Segmenter, observed: ObservedSplit) -> Float[np.ndarray, " C"]:
    """Per class the threshold that gives the highest mIoU of unrefined masks, by coordinate ascent.

    Starts from the thresholds of best image-level F1, so that classes that never matter keep those; a class's
    candidates lie between neighbouring probabilities, at most 40 of them at even ranks.
    """
    start = observed.thresholds()
    if len(start) > _MOST_CLASSES:
        return start
    table = _by_gate(segmenter, observed)
    best = _ascend(start, table, observed.probabilities)
    other = _ascend(np.full(len(start), 0.5), table, observed.probabilities)
    return max((best, other), key=lambda found: found.miou).thresholds


@dataclass(frozen=True)
class _Found:
    thresholds: Float[np.ndarray, " C"]
    miou: float


@dataclass(frozen=True)
class _Table:
    """Confusion matrices of every patch under every gate, and how gates are told apart."""

    matrices: Int[np.ndarray, "N S n n"]
    classes: int
    may_be_empty: bool

    def miou(self, probabilities: Float[np.ndarray, "N C"], thresholds: Float[np.ndarray, " C"]) -> float:
        gate = open_gate(
            "predicted",
            torch.from_numpy(probabilities),
            torch.from_numpy(thresholds.astype(probabilities.dtype)),
            None,
            self.may_be_empty,
        )
        chosen = gate.numpy() @ (1 << np.arange(self.classes))
        total = self.matrices[np.arange(len(chosen)), chosen].sum(0)
        return float(Scores.of(total, self.classes).miou)


def _ascend(start: Float[np.ndarray, " C"], table: _Table, probabilities: Float[np.ndarray, "N C"]) -> _Found:
    found = _Found(start.astype(np.float64), table.miou(probabilities, start))
    for _ in range(3):
        before = found.miou
        for c in range(table.classes):
            for candidate in _candidates(probabilities[:, c]):
                thresholds = found.thresholds.copy()
                thresholds[c] = candidate
                miou = table.miou(probabilities, thresholds)
                if miou > found.miou:
                    found = _Found(thresholds, miou)
        if found.miou == before:
            break
    return found


def _candidates(probabilities: Float[np.ndarray, " N"]) -> Float[np.ndarray, " T"]:
    values = np.unique(probabilities.astype(np.float64))
    edges = np.concatenate([[max(0.0, values[0] - 1e-3)], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-3]])
    if len(edges) <= _CANDIDATES:
        return edges
    picked: np.ndarray = edges[np.linspace(0, len(edges) - 1, _CANDIDATES).round().astype(int)]
    return picked


def _by_gate(segmenter: Segmenter, observed: ObservedSplit) -> _Table:
    classes = len(segmenter.classes)
    plain = segmenter.with_settings(gate="oracle", refine="none")
    sets = ((torch.arange(1 << classes).unsqueeze(1) >> torch.arange(classes)) & 1).bool()
    matrices = []
    for batch, evidence in zip(observed.batches, observed.evidence, strict=True):
        small_batch, small_evidence = _shrink(batch, evidence)
        per_set = []
        for gate in sets:
            labels = gate.expand(len(batch.masks), classes)
            masks = plain.decide(small_evidence, small_batch.images, labels).mask.cpu().numpy()
            pairs = zip(small_batch.masks, masks, strict=True)
            per_set.append(
                np.stack([confusion_matrix(truth, mask, segmenter.classes.channels) for truth, mask in pairs])
            )
        matrices.append(np.stack(per_set, 1))
    return _Table(np.concatenate(matrices), classes, segmenter.settings.background == "power")


def _shrink(batch: LabelledBatch, evidence: Evidence) -> tuple[LabelledBatch, Evidence]:
    height, width = (max(1, side // _STRIDE) for side in evidence.size)
    rows = (np.arange(height) * _STRIDE + _STRIDE // 2).clip(max=evidence.size[0] - 1)
    columns = (np.arange(width) * _STRIDE + _STRIDE // 2).clip(max=evidence.size[1] - 1)
    images: Tensor = F.interpolate(batch.images.float(), size=(height, width), mode="area").to(torch.uint8)
    padded = (
        max(height, evidence.padded[0] // _STRIDE),
        max(width, evidence.padded[1] // _STRIDE),
    )
    return (
        LabelledBatch(images, batch.masks[:, rows][:, :, columns], batch.patients),
        replace(evidence, size=(height, width), padded=padded),
    )

"""What is chosen on validation masks for the figure that is quoted, mIoU at the predicted gate: image-level
thresholds, and one offset per class that says how readily a pixel is given to it.

N patches, C classes, n channels, h x w pixels; a gate opens one of 2^C sets of classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.evaluation.confusion import Scores
from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.maps.gate import open_gate
from lpdseg.maps.labelling import likeliest
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter

_STRIDE = 4
"""Masks are compared at every fourth pixel: the choice does not hang on edges."""

_MOST_CLASSES = 5
"""Above this number of classes the sets are too many, and thresholds of best image-level F1 are taken."""

_CANDIDATES = 40
_OFFSETS = np.arange(-4.0, 4.01, 0.5)
"""In units of the logits: from 55 times less to 55 times more readily."""

_ROUNDS = 3


def calibrate(segmenter: Segmenter, observed: ObservedSplit, offsets: bool) -> Calibration:
    """Thresholds, and offsets where they are asked for, of the highest mIoU of unrefined masks.

    Coordinate ascent over thresholds, then offsets, in turn, from two starts: the thresholds of best image-level
    F1, and 0.5. A class's thresholds lie between neighbouring probabilities, at most 40 of them at even ranks;
    offsets lie on a grid. Classes that never matter keep what they started with.
    """
    pixels = _Pixels.of(segmenter, observed)
    by_f1 = observed.thresholds()
    starts = [by_f1] if pixels.classes > _MOST_CLASSES else [by_f1, np.full(pixels.classes, 0.5)]
    found = [_ascend(pixels, start, offsets) for start in starts]
    return max(found, key=lambda one: one.miou).calibration()


@dataclass(frozen=True)
class _Found:
    thresholds: Float[np.ndarray, " C"]
    offsets: Float[np.ndarray, " C"]
    miou: float

    def calibration(self) -> Calibration:
        return Calibration(torch.from_numpy(self.thresholds).float(), torch.from_numpy(self.offsets).float())


def _ascend(pixels: "_Pixels", start: Float[np.ndarray, " C"], with_offsets: bool) -> _Found:
    nothing = np.zeros(pixels.classes)
    found = _Found(start.astype(np.float64), nothing, pixels.miou(pixels.gate(start), nothing))
    for _ in range(_ROUNDS):
        before = found.miou
        if pixels.classes <= _MOST_CLASSES:
            found = _better_thresholds(pixels, found)
        if with_offsets:
            found = _better_offsets(pixels, found)
        if found.miou == before:
            break
    return found


def _better_thresholds(pixels: "_Pixels", found: _Found) -> _Found:
    table = pixels.by_gate(found.offsets)
    for c in range(pixels.classes):
        for candidate in _candidates(pixels.probabilities[:, c]):
            thresholds = found.thresholds.copy()
            thresholds[c] = candidate
            chosen = pixels.gate(thresholds) @ (1 << np.arange(pixels.classes))
            miou = _miou(table[np.arange(len(chosen)), chosen].sum(0), pixels.classes)
            if miou > found.miou:
                found = _Found(thresholds, found.offsets, miou)
    return found


def _better_offsets(pixels: "_Pixels", found: _Found) -> _Found:
    gate = pixels.gate(found.thresholds)
    for c in range(pixels.classes):
        for candidate in _OFFSETS:
            offsets = found.offsets.copy()
            offsets[c] = candidate
            miou = pixels.miou(gate, offsets)
            if miou > found.miou:
                found = _Found(found.thresholds, offsets, miou)
    return found


def _candidates(probabilities: Float[np.ndarray, " N"]) -> Float[np.ndarray, " T"]:
    values = np.unique(probabilities.astype(np.float64))
    edges = np.concatenate([[max(0.0, values[0] - 1e-3)], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-3]])
    if len(edges) <= _CANDIDATES:
        return edges
    picked: np.ndarray = edges[np.linspace(0, len(edges) - 1, _CANDIDATES).round().astype(int)]
    return picked


def _miou(confusion: Int[np.ndarray, "n n"], classes: int) -> float:
    return float(Scores.of(confusion, classes).miou)


@dataclass(frozen=True)
class _Pixels:
    """A split at every fourth pixel, as the segmenter weighs it before gate and offsets."""

    segmenter: Segmenter
    batches: Sequence[LabelledBatch]
    scores: Sequence[Float[Tensor, "B C h w"]]
    probabilities: Float[np.ndarray, "N C"]

    @classmethod
    def of(cls, segmenter: Segmenter, observed: ObservedSplit) -> "_Pixels":
        plain = segmenter.with_settings(gate="oracle", refine="none")
        small = [_shrink(*pair) for pair in zip(observed.batches, observed.evidence, strict=True)]
        scores = [plain.fuse(evidence) for _, evidence in small]
        return cls(plain, [batch for batch, _ in small], scores, observed.probabilities)

    @property
    def classes(self) -> int:
        return len(self.segmenter.classes)

    def gate(self, thresholds: Float[np.ndarray, " C"]) -> Bool[np.ndarray, "N C"]:
        opened: np.ndarray = open_gate(
            "predicted",
            torch.from_numpy(self.probabilities),
            torch.from_numpy(thresholds.astype(self.probabilities.dtype)),
            None,
            may_be_empty=self.segmenter.settings.background == "power",
        ).numpy()
        return opened

    def miou(self, gate: Bool[np.ndarray, "N C"], offsets: Float[np.ndarray, " C"]) -> float:
        return _miou(np.concatenate(list(self._confusions(gate, offsets))).sum(0), self.classes)

    def by_gate(self, offsets: Float[np.ndarray, " C"]) -> Int[np.ndarray, "N S n n"]:
        """The confusion matrix of every patch under every gate."""
        count = len(self.probabilities)
        sets = (np.arange(1 << self.classes)[:, None] >> np.arange(self.classes)) & 1
        return np.stack(
            [
                np.concatenate(list(self._confusions(np.broadcast_to(gate > 0, (count, self.classes)), offsets)))
                for gate in sets
            ],
            1,
        )

    def _confusions(
        self, gate: Bool[np.ndarray, "N C"], offsets: Float[np.ndarray, " C"]
    ) -> Iterator[Int[np.ndarray, "B n n"]]:
        segmenter = self.segmenter.calibrated(
            replace(self.segmenter.calibration, offsets=torch.from_numpy(offsets).float())
        )
        first, n = 0, self.segmenter.classes.channels
        for batch, scores in zip(self.batches, self.scores, strict=True):
            opened = torch.from_numpy(gate[first : first + len(batch.masks)].copy())
            first += len(batch.masks)
            logits = segmenter.logits(scores, opened.to(scores.device), batch.images)
            yield _confusion_per_patch(batch.masks, likeliest(logits).cpu().numpy(), n)


def _confusion_per_patch(
    truth: Int[np.ndarray, "B h w"] | np.ndarray, found: Int[np.ndarray, "B h w"], n: int
) -> Int[np.ndarray, "B n n"]:
    counted = truth < n
    patch = np.broadcast_to(np.arange(len(truth))[:, None, None], truth.shape)
    places = (patch[counted] * n + truth[counted].astype(np.int64)) * n + found[counted]
    return np.bincount(places, minlength=len(truth) * n * n).reshape(len(truth), n, n)


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

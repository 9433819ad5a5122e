"""What is chosen on validation masks for the figure that is quoted, mIoU at the predicted gate: image-level
thresholds, and one offset per class that says how readily a pixel is given to it.

N patches, C classes, T candidates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lpdseg.errors import SettingsError
from lpdseg.evaluation.confusion import Scores
from lpdseg.evaluation.counts import confusion_matrices, count_pairs
from lpdseg.evaluation.objective import Objective
from lpdseg.evaluation.sampled import sampling_step
from lpdseg.evaluation.split import ObservedSplit, there
from lpdseg.maps.labelling import likeliest
from lpdseg.maps.sampling import every
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.segmenter import Calibration, Segmenter

_MOST_CLASSES = 5
"""Above this number of classes the gates are too many to count each (2^C for every patch), and thresholds of best
image-level F1 are taken."""

_CANDIDATES = 40
"""Thresholds of a class that are tried at most: mIoU hardly changes between neighbouring ones."""

_OFFSETS = np.arange(-4.0, 4.01, 0.5)
"""In units of the logits: from 55 times less to 55 times more readily."""

_ROUNDS = 3
"""Of thresholds and offsets in turn; the second rarely gains much."""


def calibrate(segmenter: Segmenter, observed: ObservedSplit, offsets: bool) -> Calibration:
    """Thresholds, and offsets where they are asked for, of the highest mIoU of unrefined masks.

    Coordinate ascent over thresholds, then offsets, in turn, from two starts: the thresholds of best image-level
    F1, and 0.5. A class's thresholds lie between neighbouring probabilities, at most 40 of them at even ranks;
    offsets lie on a grid. Of equals the first is kept, so a class that never matters keeps what it started with.
    mIoU is that of a part of the pixels, see `lpdseg.evaluation.sampled`; at each of them the mask is the
    prediction's.

    **Raises:** `SettingsError` for a segmenter under edits: the gate is that of the classes as trained, see
    `choose_offsets`.
    """
    if segmenter.edits_sha256 is not None:
        raise SettingsError("thresholds are chosen for the classes as trained; leave the edits out")
    objective = Objective(segmenter, observed)
    # Best F1 may open a class in nearly all images, which costs the masks much; from there single steps can fail to
    # lead away, and 0.5 is the other place where thresholds commonly are.
    by_f1 = observed.thresholds()
    starts = [by_f1] if objective.classes > _MOST_CLASSES else [by_f1, np.full(objective.classes, 0.5)]
    found = [_ascend(objective, start, offsets) for start in starts]
    return max(found, key=lambda one: one.miou).calibration()


def choose_offsets(segmenter: EditedSegmenter, observed: ObservedSplit) -> tuple[float, ...]:
    """Offsets of the highest mIoU of unrefined masks under edits, thresholds as they are.

    Coordinate ascent over the grid of `calibrate`, from the offsets that there are: of equals these are kept. mIoU
    is that of the pixels of `lpdseg.evaluation.sampled`.
    """
    classes, channels = len(segmenter.classes), segmenter.classes.channels
    predicted = segmenter.with_settings(gate="predicted")
    assert isinstance(predicted, EditedSegmenter)
    pixels = list(_under_edits(predicted, observed))

    def miou(offsets: Tensor) -> float:
        placed = offsets.to(segmenter.device)
        found = (likeliest(segmenter.channel_logits(logits, behind, placed)) for _, logits, behind in pixels)
        pairs = zip((truth for truth, _, _ in pixels), found, strict=True)
        tables = torch.cat([count_pairs(truth, mask.to(torch.uint8), channels) for truth, mask in pairs])
        return float(Scores.of(confusion_matrices(tables).sum(0), classes).miou)

    chosen = segmenter.calibration.offsets.cpu()
    best = miou(chosen)
    for _ in range(_ROUNDS):
        before = best
        for c in range(classes):
            for candidate in _OFFSETS:
                offsets = chosen.clone()
                offsets[c] = candidate
                if (other := miou(offsets)) > best:
                    chosen, best = offsets, other
        if best == before:
            break
    return tuple(chosen.tolist())


def _under_edits(
    segmenter: EditedSegmenter, observed: ObservedSplit
) -> Iterator[tuple[UInt8[Tensor, "B h w"], Float[Tensor, "B G h w"], Float[Tensor, "B 1 h w"] | None]]:
    """Truth at some pixels, and what `EditedSegmenter.group_logits` gives there."""
    step = sampling_step(observed, len(segmenter.groups) + 1)
    for batch, evidence in zip(observed.batches, observed.evidence, strict=True):
        rows, columns = (every(step, side) for side in evidence.size)
        scores = segmenter.fuse(evidence)[..., rows, columns]
        images, truth = (there(one, scores.device) for one in (batch.images, batch.truth))
        logits = segmenter.group_logits(scores, segmenter.glass(images, step), segmenter.acting(evidence))
        yield truth[:, rows, columns], *logits


@dataclass(frozen=True)
class _Found:
    thresholds: Float[np.ndarray, " C"]
    offsets: Float[np.ndarray, " C"]
    miou: float

    def calibration(self) -> Calibration:
        return Calibration(torch.from_numpy(self.thresholds).float(), torch.from_numpy(self.offsets).float())


def _ascend(objective: Objective, start: Float[np.ndarray, " C"], with_offsets: bool) -> _Found:
    nothing = np.zeros(objective.classes)
    found = _Found(start.astype(np.float64), nothing, objective.of(start, nothing))
    for _ in range(_ROUNDS):
        before = found.miou
        if objective.classes <= _MOST_CLASSES:
            found = _better_thresholds(objective, found)
        if with_offsets:
            found = _better_offsets(objective, found)
        if found.miou == before:
            break
    return found


def _better_thresholds(objective: Objective, found: _Found) -> _Found:
    """Each class in turn, with what was found for those before it."""
    table = objective.by_gate(found.offsets)
    for c in range(objective.classes):
        for candidate in _threshold_candidates(objective.probabilities[:, c]):
            thresholds = found.thresholds.copy()
            thresholds[c] = candidate
            miou = objective.of_thresholds(table, thresholds)
            if miou > found.miou:
                found = _Found(thresholds, found.offsets, miou)
    return found


def _better_offsets(objective: Objective, found: _Found) -> _Found:
    """Each class in turn, with what was found for those before it."""
    gate = objective.gate(found.thresholds)
    for c in range(objective.classes):
        mious = objective.of_offsets(gate, found.offsets, c, _OFFSETS)
        for candidate, miou in zip(_OFFSETS, mious, strict=True):
            if miou > found.miou:
                offsets = found.offsets.copy()
                offsets[c] = candidate
                found = _Found(found.thresholds, offsets, miou)
    return found


def _threshold_candidates(probabilities: Float[np.ndarray, " N"]) -> Float[np.ndarray, " T"]:
    # Only the order of patches and threshold matters: one for each way to cut them, and one beyond each end.
    values = np.unique(probabilities.astype(np.float64))
    edges = np.concatenate([[max(0.0, values[0] - 1e-3)], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-3]])
    if len(edges) <= _CANDIDATES:
        return edges
    picked: np.ndarray = edges[np.linspace(0, len(edges) - 1, _CANDIDATES).round().astype(int)]
    return picked

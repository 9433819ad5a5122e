"""Offsets that are chosen anew under edits, against a loop that predicts every candidate."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lpdseg.evaluation.calibration import choose_offsets
from lpdseg.evaluation.confusion import Scores, confusion_matrix
from lpdseg.evaluation.split import LabelledBatch, ObservedSplit, observe_split
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import Offsets, read_edits
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("A", "B", "C"), background=3)
THRESHOLDS = (0.45, 0.5, 0.55)


def drawn(model: LPD, rule: str, path: Path) -> EditedSegmenter:
    with torch.no_grad():
        model.bank.weight.mul_(50)  # cosines that differ
        assert model.head is not None
        model.head.cosine.log_scale.fill_(math.log(3))  # and no prototype that is sure of itself
    settings = PredictSettings(fusion=(0, 0.3, 0.7), refine="none", background=rule, views=("plain",))
    calibration = Calibration(torch.tensor(THRESHOLDS), torch.tensor([0.5, -0.25, 0.0]))
    path.write_text("B 1: {move: A}\nC 1: {move: B}\nA 1: {hide: true}\n")
    plain = Segmenter(model.eval(), CLASSES, settings, calibration, (0.0, 0.5, 1.0), "mean")
    return EditedSegmenter(plain, read_edits(path))


def masks(segmenter: EditedSegmenter, split: ObservedSplit, offsets: tuple[float, ...]) -> list[np.ndarray]:
    chosen = segmenter.with_settings(gate="predicted").calibrated(
        Calibration(segmenter.calibration.thresholds, torch.tensor(offsets))
    )
    pairs = zip(split.batches, split.evidence, strict=True)
    return [chosen.decide(evidence, batch.images).mask.numpy() for batch, evidence in pairs]


@pytest.mark.parametrize("rule", ["glass", "power"])
def test_offsets_are_those_of_a_loop(rule: str, tiny_lpd: Callable[..., LPD], tmp_path: Path) -> None:
    segmenter = drawn(tiny_lpd(counts=(2, 2, 2), head=8), rule, tmp_path / "edits.yaml")
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (4, 3, 32, 48), np.uint8))
    blank = [LabelledBatch(images[i : i + 2], np.zeros((2, 32, 48), np.uint8), ("p", "q")) for i in (0, 2)]
    split = observe_split(segmenter, blank)
    likely = torch.tensor([[0.9, 0.9, 0.9], [0.2, 0.9, 0.9]])  # more than one class passes
    split = replace(split, evidence=tuple(replace(one, probabilities=likely) for one in split.evidence))
    truth = masks(segmenter, split, (-1.5, 1.0, 2.0))
    for one in truth:
        one[rng.random(one.shape) < 0.1] = 255
    batches = tuple(replace(batch, masks=one) for batch, one in zip(split.batches, truth, strict=True))
    split = replace(split, batches=batches)

    def miou(offsets: tuple[float, ...]) -> float:
        found = masks(segmenter, split, offsets)
        pairs = zip(truth, found, strict=True)
        matrices = [confusion_matrix(t[:, 2::4, 2::4], f[:, 2::4, 2::4], 4) for t, f in pairs]
        return float(Scores.of(np.sum(matrices, 0), 3).miou)

    best = start = (0.5, -0.25, 0.0)
    for _ in range(3):
        for c in range(3):
            for step in range(-8, 9):
                other = (*best[:c], step / 2, *best[c + 1 :])
                best = other if miou(other) > miou(best) else best
    assert choose_offsets(segmenter, split) == best
    assert miou(best) > miou(start) + 0.02
    again = EditedSegmenter(
        segmenter, replace(segmenter.edits, offsets=Offsets(best, "f" * 64, frozenset()))
    ).with_settings(gate="none")
    assert tuple(again.calibration.offsets.tolist()) == best and again.calibration.offsets_data == "f" * 64
    torch.testing.assert_close(again.calibration.thresholds, torch.tensor(THRESHOLDS))
    plain = again.calibrated(Calibration.plain(3))
    assert plain.calibration.offsets_data is None and not plain.calibration.offsets.any()

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.confusion import Scores, confusion_matrix
from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter
from lpdseg.settings import PredictSettings
from lpdseg.tissue import TissueClasses

SIDE = 16
CLASSES = TissueClasses(("A", "B"))


@pytest.fixture
def segmenter(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    settings = PredictSettings(
        fusion=(0, 0, 1), refine="none", background="none", temperature=0.1, views=("plain",)
    )
    return Segmenter(tiny_lpd().eval(), CLASSES, settings, Calibration.plain(2), (0.0, 0.0, 1.0), "mean")


def observed(scores: list[Any], truth: list[Any], probabilities: list[list[float]]) -> ObservedSplit:
    """Patches whose class scores and true classes are the same in every row: one value per column of 4 px."""
    maps = torch.tensor(scores, dtype=torch.float32).repeat_interleave(4, -1).unsqueeze(2).repeat(1, 1, SIDE, 1)
    masks = np.asarray(truth, np.uint8).repeat(4, -1)[:, None].repeat(SIDE, 1)
    held = np.array([[bool((mask == c).any()) for c in range(2)] for mask in masks])
    evidence = Evidence({2: maps}, torch.tensor(probabilities), (SIDE, SIDE), (SIDE, SIDE))
    images = torch.full((len(masks), 3, SIDE, SIDE), 128, dtype=torch.uint8)
    batch = LabelledBatch(images, masks, tuple(f"p{i}" for i in range(len(masks))))
    return ObservedSplit((batch,), (evidence,), np.array(probabilities, np.float32), held)


def miou(segmenter: Segmenter, split: ObservedSplit) -> float:
    batch, evidence = split.batches[0], split.evidence[0]
    masks = segmenter.decide(evidence, batch.images).mask.numpy()
    pairs = zip(batch.masks, masks, strict=True)
    return float(Scores.of(np.sum([confusion_matrix(t, m, 2) for t, m in pairs], 0), 2).miou)


def test_offsets_mend_a_class_that_is_preferred_everywhere(segmenter: Segmenter) -> None:
    # A scores 0.2 too much: without an offset the third column is lost
    split = observed([[[0.9, 0.9, 0.7, 0.3], [0.1, 0.2, 0.6, 0.8]]], [[0, 0, 1, 1]], [[0.9, 0.9]])
    without = segmenter.calibrated(calibrate(segmenter, split, offsets=False))
    with_offsets = segmenter.calibrated(calibrate(segmenter, split, offsets=True))
    assert without.calibration.offsets.tolist() == [0.0, 0.0]
    assert miou(without, split) < 0.7
    assert miou(with_offsets, split) == pytest.approx(1.0)


def test_thresholds_close_a_class_that_is_absent(segmenter: Segmenter) -> None:
    split = observed(
        [[[0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9]], [[0.5, 0.5, 0.5, 0.4], [0.4, 0.4, 0.6, 0.6]]],
        [[0, 0, 1, 1], [0, 0, 0, 0]],
        [[0.9, 0.7], [0.9, 0.6]],
    )
    found = calibrate(segmenter, split, offsets=False)
    assert 0.6 < found.thresholds[1] <= 0.7
    assert miou(segmenter.calibrated(found), split) == pytest.approx(1.0)


def test_what_is_chosen_is_never_worse_than_where_it_started(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        scores = rng.random((6, 2, 4)).tolist()
        truth = rng.integers(0, 2, (6, 4)).tolist()
        split = observed(scores, truth, rng.random((6, 2)).tolist())
        plain = miou(segmenter, split)
        only = miou(segmenter.calibrated(calibrate(segmenter, split, offsets=False)), split)
        both = miou(segmenter.calibrated(calibrate(segmenter, split, offsets=True)), split)
        assert plain <= only + 1e-9
        assert only <= both + 0.02  # another path of the ascent may end a little lower

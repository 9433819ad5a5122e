from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from drawn_split import classes_of, count, draw_split, predict, segmenter_of

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


class Reference:
    """The same ascent, by a prediction of every patch for every candidate."""

    def __init__(self, segmenter: Segmenter, split: ObservedSplit) -> None:
        self.segmenter, self.split, self.classes = segmenter, split, len(segmenter.classes)
        self.known: dict[bytes, float] = {}

    def miou(self, thresholds: np.ndarray, offsets: np.ndarray) -> float:
        key = np.concatenate([thresholds, offsets]).tobytes()
        if key not in self.known:
            matrix = count(
                predict(self.segmenter, self.split, thresholds, offsets), self.segmenter.classes.channels
            )
            self.known[key] = float(Scores.of(matrix, self.classes).miou)
        return self.known[key]

    def calibrate(self, with_offsets: bool) -> tuple[np.ndarray, np.ndarray, float]:
        starts = [self.split.thresholds()] + [np.full(self.classes, 0.5)] * (self.classes <= 5)
        found = [self.ascend(start, with_offsets) for start in starts]
        return found[1] if len(found) > 1 and found[1][2] > found[0][2] else found[0]

    def ascend(self, start: np.ndarray, with_offsets: bool) -> tuple[np.ndarray, np.ndarray, float]:
        choice = np.stack([start, np.zeros(self.classes)])
        best = self.miou(*choice)
        for _ in range(3):
            before = best
            for row in (0, 1):
                if (row == 0 and self.classes > 5) or (row == 1 and not with_offsets):
                    continue
                for c in range(self.classes):
                    for value in self.candidates(c) if row == 0 else [k / 2 for k in range(-8, 9)]:
                        other = choice.copy()
                        other[row, c] = value
                        if self.miou(*other) > best:
                            choice, best = other, self.miou(*other)
            if best == before:
                break
        return choice[0], choice[1], best

    def candidates(self, c: int) -> list[float]:
        values = sorted(set(self.split.probabilities[:, c].astype(float).tolist()))
        edges = [max(0, values[0] - 0.001), *((a + b) / 2 for a, b in pairwise(values)), values[-1] + 0.001]
        if len(edges) <= 40:
            return edges
        return [edges[round(rank * (len(edges) - 1) / 39)] for rank in range(40)]


@pytest.mark.parametrize(
    ("rule", "by_head", "classes", "with_offsets", "seed"),
    [
        ("glass", True, 3, True, 0),
        ("glass", False, 2, True, 1),
        ("power", True, 2, True, 2),
        ("power", False, 3, True, 3),
        ("none", False, 3, True, 4),
        ("none", True, 3, False, 5),
        ("glass", False, 5, False, 6),
        ("glass", False, 6, True, 7),
    ],
)
def test_choices_are_those_of_a_loop_that_predicts_every_candidate(
    rule: str, by_head: bool, classes: int, with_offsets: bool, seed: int, tiny_lpd: Callable[..., LPD]
) -> None:
    model = tiny_lpd(counts=(1,) * classes, head=8 if by_head else 0)
    segmenter = segmenter_of(model, classes_of(classes, rule != "none"), background=rule)
    split = draw_split(segmenter, [(2, (17, 20)), (1, (9, 31)), (2, (17, 20))], seed)
    reference = Reference(segmenter, split)
    thresholds, offsets, best = reference.calibrate(with_offsets)
    found = calibrate(segmenter, split, with_offsets)
    assert found.thresholds.tolist() == torch.tensor(thresholds).float().tolist()
    assert found.offsets.tolist() == offsets.tolist()
    assert best > max(
        reference.miou(start, np.zeros(classes)) for start in (split.thresholds(), np.full(classes, 0.5))
    )

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from drawn_split import classes_of, count, draw_split, predict, segmenter_of

from lpdseg.evaluation import calibration
from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.confusion import Scores, confusion_matrix
from lpdseg.evaluation.objective import Objective
from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter
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


Miou = Callable[[np.ndarray, np.ndarray], float]


class Reference:
    """The same ascent as a plain loop that asks for the mIoU of every candidate."""

    def __init__(self, miou: Miou, probabilities: np.ndarray, by_f1: np.ndarray) -> None:
        self.compute, self.probabilities, self.by_f1 = miou, probabilities, by_f1
        self.classes = probabilities.shape[1]
        self.known: dict[bytes, float] = {}

    def miou(self, choice: np.ndarray) -> float:
        if choice.tobytes() not in self.known:
            self.known[choice.tobytes()] = self.compute(*choice)
        return self.known[choice.tobytes()]

    def calibrate(self, with_offsets: bool) -> np.ndarray:
        found = [self.ascend(start, with_offsets) for start in self.starts()]
        return found[-1] if self.miou(found[-1]) > self.miou(found[0]) else found[0]

    def starts(self) -> list[np.ndarray]:
        starts = [self.by_f1] + [np.full(self.classes, 0.5)] * (self.classes <= 5)
        return [np.stack([start, np.zeros(self.classes)]) for start in starts]

    def ascend(self, choice: np.ndarray, with_offsets: bool) -> np.ndarray:
        rows = [0] * (self.classes <= 5) + [1] * with_offsets
        for _ in range(3):
            for row in rows:
                for c in range(self.classes):
                    for value in self.candidates(c) if row == 0 else [k / 2 for k in range(-8, 9)]:
                        other = choice.copy()
                        other[row, c] = value
                        if self.miou(other) > self.miou(choice):
                            choice = other
        return choice

    def candidates(self, c: int) -> list[float]:
        values = sorted(set(self.probabilities[:, c].astype(float).tolist()))
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
        ("power", False, 2, True, 3),
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
    split = draw_split(segmenter, [(2, (17, 20)), (1, (9, 31)), (1, (17, 20))], seed)

    def by_prediction(thresholds: np.ndarray, offsets: np.ndarray) -> float:
        matrix = count(predict(segmenter, split, thresholds, offsets), segmenter.classes.channels)
        return float(Scores.of(matrix, classes).miou)

    reference = Reference(by_prediction, split.probabilities, split.thresholds())
    thresholds, offsets = best = reference.calibrate(with_offsets)
    found = calibrate(segmenter, split, with_offsets)
    assert found.thresholds.tolist() == torch.tensor(thresholds).float().tolist()
    assert found.offsets.tolist() == offsets.tolist()
    assert reference.miou(best) > max(map(reference.miou, reference.starts()))


class Hill(Objective):
    """Stands in for the objective: a ridge of equal steps that runs across thresholds and offsets."""

    def __init__(self, classes: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.classes = classes
        patches = int(rng.choice([2, 12, 38, 39, 40, 70]))
        self.probabilities = rng.random((patches, classes)).round(3).astype(np.float32)
        self.by_f1 = rng.random(classes)
        self.top = np.concatenate([rng.uniform(-0.3, 1.3, classes), rng.uniform(-5, 5, classes)])
        self.slope = rng.standard_normal((2 * classes, 2 * classes)) * np.repeat([5.0, 1.0], classes)
        self.step = rng.choice([1e-9, 0.5])

    def of(self, thresholds: np.ndarray, offsets: np.ndarray) -> float:
        away = self.slope @ (np.concatenate([thresholds, offsets]) - self.top)
        return float(-np.round((away @ away) / self.step) * self.step)

    def gate(self, thresholds: np.ndarray) -> np.ndarray:
        return thresholds

    def by_gate(self, offsets: np.ndarray) -> np.ndarray:
        return offsets

    def of_thresholds(self, table: np.ndarray, thresholds: np.ndarray) -> float:
        return self.of(thresholds, table)

    def of_offsets(self, gate: np.ndarray, offsets: np.ndarray, c: int, candidates: np.ndarray) -> list[float]:
        found = []
        for candidate in candidates:
            tried = offsets.copy()
            tried[c] = candidate
            found.append(self.of(gate, tried))
        return found


@pytest.mark.parametrize("classes", [1, 2, 5, 6])
@pytest.mark.parametrize("with_offsets", [False, True])
def test_the_ascent_goes_where_a_plain_loop_goes(
    with_offsets: bool, classes: int, monkeypatch: pytest.MonkeyPatch, segmenter: Segmenter
) -> None:
    for seed in range(25):
        hill = Hill(classes, seed)
        monkeypatch.setattr(calibration, "Objective", lambda *_: hill)  # noqa: B023
        monkeypatch.setattr(ObservedSplit, "thresholds", lambda _: hill.by_f1)  # noqa: B023
        split = ObservedSplit((), (), hill.probabilities, hill.probabilities > 0.5)
        thresholds, offsets = Reference(hill.of, hill.probabilities, hill.by_f1).calibrate(with_offsets)
        found = calibrate(segmenter, split, with_offsets)
        assert found.thresholds.tolist() == torch.tensor(thresholds).float().tolist()
        assert found.offsets.tolist() == offsets.tolist()


def test_a_split_without_any_pixel_keeps_the_first_start(segmenter: Segmenter) -> None:
    split = observed([[[0.9, 0.9, 0.7, 0.3], [0.1, 0.2, 0.6, 0.8]]], [[255] * 4], [[0.9, 0.4]])
    found = calibrate(segmenter, split, offsets=True)
    assert found.thresholds.tolist() == [0.5, 0.5] and found.offsets.tolist() == [0.0, 0.0]

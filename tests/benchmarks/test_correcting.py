"""The strokes that `benchmarks/correcting.py` draws: of the true class, and only where the mask is wrong."""

from argparse import Namespace
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import numpy as np
import shapely

from lpdseg.tissue import TissueClasses

Load = Callable[[str], ModuleType]


def test_strokes_lie_in_the_largest_wrong_regions_and_are_what_these_are(load_benchmark: Load) -> None:
    correcting = load_benchmark("correcting")
    truth = np.zeros((60, 60), np.uint8)
    truth[5:25, 10:50] = 1  # the largest wrong region, which lies across
    truth[30:55, 5:15] = 2  # the next one, upright
    truth[30:55, 30:60] = 3  # background, on which nothing is drawn
    mask = np.zeros((60, 60), np.uint8)
    strokes = list(correcting.strokes_of(mask, truth, 3, 9))
    assert [c for c, _ in strokes][:2] == [1, 1] and {c for c, _ in strokes} == {1, 2}
    first = strokes[0][1]
    assert 20 <= first.length <= correcting.LENGTH
    for c, line in strokes:
        points = [line.interpolate(share, normalized=True) for share in np.linspace(0, 1, 20)]
        assert {truth[int(one.y), int(one.x)] for one in points} == {c}
    bodies = [line.buffer(correcting.WIDTH / 2) for _, line in strokes]
    assert not any(shapely.overlaps(a, b) for a, b in pairwise(bodies))
    assert [c for c, _ in correcting.strokes_of(mask, truth, 3, 1)] == [1]
    assert list(correcting.strokes_of(truth, truth, 3, 5)) == []


def test_a_single_wrong_pixel_has_a_stroke(load_benchmark: Load) -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[0, 8] = 1
    [(c, line)] = load_benchmark("correcting").strokes_of(np.zeros_like(truth), truth, 2, 4)
    assert c == 1 and line.buffer(3).contains(shapely.Point(8.5, 0.5)) and line.length > 0


def test_the_table_compares_with_training_on_as_long(load_benchmark: Load) -> None:
    correcting = load_benchmark("correcting")
    rng = np.random.default_rng(0)
    data = SimpleNamespace(classes=TissueClasses(("a", "b")))
    asked = Namespace(patches=9, valid=4, patients=3, seeds=[0, 1])

    def record() -> dict[str, object]:
        by_patient = {name: rng.integers(1, 9, (2, 2)).tolist() for name in "pqr"}
        return {"by_patient": by_patient, "classes": {name: {"iou": 50.0} for name in "ab"}, "wrong": 0.25}

    text = correcting.table(asked, data, [{row: record() for row in correcting.ROWS} for _ in range(2)])
    assert "| | mIoU | IoU a | IoU b | wrong |" in text
    assert text.count("| 50.0 | 50.0 | 25.0 |") == len(correcting.ROWS)
    assert "| **with the strokes, less without a word** | " in text

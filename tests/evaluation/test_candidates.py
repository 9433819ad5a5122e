"""The matrices of many candidates beside prediction itself, once for each candidate."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawn_split import Size, classes_of, count, draw_split, predict, segmenter_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpdseg.evaluation.candidates import confusion_by_gate, confusion_by_offset, masks_by_gate
from lpdseg.evaluation.sampled import SampledPixels, sample_split
from lpdseg.maps.gate import open_gate
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Segmenter

Build = Callable[..., LPD]
RULES = [(rule, by_head) for rule in ("power", "glass", "none", "no background") for by_head in (False, True)]
BATCHES: list[tuple[int, Size]] = [(2, (37, 53)), (1, (64, 48)), (2, (21, 18))]
CANDIDATES = torch.tensor([-4.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], dtype=torch.float64)


def build(tiny_lpd: Build, rule: str, by_head: bool, classes: int = 3) -> Segmenter:
    model = tiny_lpd(counts=(2,) * classes, head=8 if by_head else 0)
    known = classes_of(classes, rule != "no background")
    return segmenter_of(model, known, background="power" if rule == "no background" else rule)


def gate_of(segmenter: Segmenter, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    may_be_empty = segmenter.settings.background == "power"
    values = torch.from_numpy(probabilities), torch.from_numpy(thresholds).float()
    opened: np.ndarray = open_gate("predicted", *values, None, may_be_empty=may_be_empty).numpy()
    return opened


@pytest.mark.parametrize(("rule", "by_head"), RULES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(data=st.data())
def test_masks_are_those_of_prediction_at_every_sampled_pixel(
    rule: str, by_head: bool, data: st.DataObject, tiny_lpd: Build
) -> None:
    segmenter = build(tiny_lpd, rule, by_head)
    side = st.integers(1, 70)
    batches = data.draw(st.lists(st.tuples(st.integers(1, 3), st.tuples(side, side)), min_size=1, max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    split = draw_split(segmenter, batches, int(rng.integers(2**32)))
    thresholds, offsets = rng.random(3), rng.choice(CANDIDATES.numpy(), 3)
    chosen = gate_of(segmenter, split.probabilities, thresholds) @ (1 << np.arange(3))
    found = [
        mask
        for part in sample_split(segmenter, split)
        for mask in torch.stack(masks_by_gate(part, torch.from_numpy(offsets))).swapaxes(0, 1)
    ]
    for (_, expected), masks, gate in zip(
        predict(segmenter, split, thresholds, offsets), found, chosen, strict=True
    ):
        np.testing.assert_array_equal(masks[gate].numpy(), expected.ravel())


@pytest.mark.parametrize(("rule", "by_head"), RULES)
def test_every_gate_of_every_patch_is_counted(rule: str, by_head: bool, tiny_lpd: Build) -> None:
    segmenter = build(tiny_lpd, rule, by_head)
    split, offsets = draw_split(segmenter, BATCHES), np.array([0.5, 0.0, -1.0])
    parts = sample_split(segmenter, split)
    found = torch.cat([confusion_by_gate(part, torch.from_numpy(offsets)) for part in parts]).numpy()
    assert found.shape[:2] == (5, 8)
    for gate in range(0 if rule == "power" else 1, 8):
        opened = [bool(gate >> c & 1) for c in range(3)]
        thresholds = np.where(opened, 0.0, 2.0)
        for patch, pair in enumerate(predict(segmenter, split, thresholds, offsets)):
            np.testing.assert_array_equal(found[patch, gate], count([pair], segmenter.classes.channels))


@pytest.mark.parametrize("c", [0, 1, 2])
@pytest.mark.parametrize(("rule", "by_head"), RULES)
def test_every_offset_of_a_class_is_counted(rule: str, by_head: bool, c: int, tiny_lpd: Build) -> None:
    segmenter = build(tiny_lpd, rule, by_head)
    split = draw_split(segmenter, BATCHES)
    for thresholds in (np.full(3, 0.5), np.zeros(3), np.full(3, 0.9)):
        offsets = np.array([0.5, 0.0, -1.0])
        gate = torch.from_numpy(gate_of(segmenter, split.probabilities, thresholds))
        first, total = 0, torch.zeros(())
        for part in sample_split(segmenter, split):
            opened = gate[first : first + len(part)]
            total = total + confusion_by_offset(part, opened, torch.from_numpy(offsets), c, CANDIDATES)
            first += len(part)
        for candidate, matrix in zip(CANDIDATES, total, strict=True):
            offsets[c] = candidate
            expected = count(predict(segmenter, split, thresholds, offsets), segmenter.classes.channels)
            np.testing.assert_array_equal(matrix, expected)


def flat(logits: list[list[float]], truth: list[int]) -> SampledPixels:
    """One patch: logits by class, one column per pixel."""
    return SampledPixels(torch.tensor([truth], dtype=torch.uint8), 3, torch.tensor(logits)[None], None)


def test_of_equal_channels_the_first_wins() -> None:
    pixels = flat([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [0, 1, 2])
    winners = [0, 1, 0]
    assert masks_by_gate(pixels, torch.zeros(3))[7][0].tolist() == winners
    opened, grid = torch.ones((1, 3), dtype=torch.bool), torch.tensor([-1.0, 0.0, 1.0])
    for c in range(3):
        found = confusion_by_offset(pixels, opened, torch.zeros(3), c, grid)
        for matrix, offset in zip(found, grid, strict=True):
            shifted = pixels.logits[0].clone()
            shifted[c] += offset
            expected = np.zeros((3, 3), int)
            for truth, winner in enumerate(shifted.argmax(0).tolist()):
                expected[truth, winner] += 1
            np.testing.assert_array_equal(matrix, expected)


def test_a_tie_is_decided_as_in_float32() -> None:
    """1 + 1e-8 is 1 there: what prediction cannot tell apart must not be told apart here."""
    pixels = flat([[4.0], [1e-8], [-9.0]], [1])
    (matrix,) = confusion_by_offset(pixels, torch.ones((1, 3)).bool(), torch.zeros(3), 1, torch.tensor([4.0]))
    assert matrix[1].tolist() == [1, 0, 0]


def test_pixels_that_do_not_count_are_left_out() -> None:
    pixels = flat([[1.0] * 4, [0.0] * 4, [0.0] * 4], [255, 3, 2, 0])
    assert confusion_by_gate(pixels, torch.zeros(3))[0, 7].sum() == 2
    found = confusion_by_offset(pixels, torch.ones((1, 3)).bool(), torch.zeros(3), 0, torch.zeros(1))
    assert found[0].sum() == 2


def test_where_no_gate_is_open_every_class_is() -> None:
    """Without background each pixel belongs to a class."""
    pixels = flat([[0.0], [2.0], [1.0]], [1])
    assert confusion_by_gate(pixels, torch.zeros(3))[0, 0, 1].tolist() == [0, 1, 0]
    found = confusion_by_offset(pixels, torch.zeros((1, 3)).bool(), torch.zeros(3), 2, torch.tensor([0.0, 1.5]))
    assert found[:, 1].tolist() == [[0, 1, 0], [0, 0, 1]]

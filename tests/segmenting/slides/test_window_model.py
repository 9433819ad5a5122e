"""Windows through the model: weighted and added up in place, in batches that fit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lpdseg.errors import DataError
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.window_model import WindowModel
from lpdseg.slides.grid import Grid

SIDE = 32


APART = Segment(0, 0, (0, 16, 48, 50, 90))
"""Overlapping, touching, and after a gap."""

ONE = Segment(0, 0, (0,))


def read(segment: Segment) -> tuple[np.ndarray, list[np.ndarray]]:
    """The pixels of a segment, and its windows."""
    slide = np.random.default_rng(1).integers(0, 256, (SIDE, segment.width(SIDE), 3), np.uint8)
    runs = [slide[:, segment.lefts[run.start] : segment.lefts[run.stop - 1] + SIDE] for run in segment.runs(SIDE)]
    return np.concatenate(runs, 1), [slide[:, x : x + SIDE] for x in segment.lefts]


def test_a_strip_is_the_sum_of_its_windows_at_their_places(segmenter: Segmenter) -> None:
    pixels, windows = read(APART)
    weights = Grid((100, 100), SIDE, 16).weights()
    strip = WindowModel(segmenter).begin(pixels, APART, weights)().values
    wanted = np.zeros((3, SIDE, 90 + SIDE), np.float32)
    for window, x in zip(windows, APART.lefts, strict=True):
        wanted[:, :, x : x + SIDE] += segmenter.segment(window).probabilities * weights
    assert strip.dtype == np.float32
    np.testing.assert_allclose(strip, wanted, atol=1e-5)


def test_winners_of_a_class_are_those_of_the_heaviest_window(
    segmenter: Segmenter, tiny_lpd: Callable[..., LPD]
) -> None:
    network = tiny_lpd(head=8).eval()
    network.bank.weight.data.mul_(50)  # prototypes that differ
    with_head = segmenter.computed_by(network)
    (pixels, windows), offsets, weights = read(APART), APART.lefts, Grid((100, 100), SIDE, 16).weights()
    plain = WindowModel(with_head).begin(pixels, APART, weights)()
    strip = WindowModel(with_head).begin(pixels, APART, weights, prototypes=True)()
    assert plain.winners is None and strip.winners is not None
    np.testing.assert_array_equal(strip.values, plain.values)
    evidence = with_head.observe(torch.from_numpy(np.stack(windows).transpose(0, 3, 1, 2).copy()), parts=True)
    assert evidence.parts is not None
    shares = torch.nn.functional.interpolate(evidence.parts, size=(SIDE, SIDE), mode="bilinear").numpy()
    won = {0: shares[:, :2].argmax(1), 1: 2 + shares[:, 2:].argmax(1)}
    for x in range(90 + SIDE):
        for y in range(SIDE):
            heard = [b for b, left in enumerate(offsets) if 0 <= x - left < SIDE]
            if heard:
                heaviest = max(heard, key=lambda b: weights[y, x - offsets[b]])
                at = heaviest, y, x - offsets[heaviest]
                assert strip.winners[:, y, x].tolist() == [won[0][at], won[1][at]]


def test_channels_are_named_as_they_come(segmenter: Segmenter) -> None:
    assert segmenter.channel_names == ("a", "b", "background")
    without = segmenter.with_settings(background="none")
    assert without.channel_names == ("a", "b")
    strip = WindowModel(without).begin(read(ONE)[0], ONE, np.ones((SIDE, SIDE), np.float32))().values
    assert len(strip) == 2


def test_a_batch_that_does_not_fit_is_halved_for_good(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    observe = Segmenter.observe

    def narrow(self: Segmenter, images: torch.Tensor) -> Evidence:
        tried.append(len(images))
        if len(images) > 3:
            raise MemoryError
        return observe(self, images)

    weights, lefts = np.ones((SIDE, SIDE), np.float32), tuple(range(0, 80, 10))
    pixels, _ = read(Segment(0, 0, lefts))
    halves = np.zeros((3, SIDE, lefts[-1] + SIDE), np.float32)
    for first in range(0, len(lefts), 2):  # batches of the size that is found: another one rounds otherwise
        some = Segment(0, 0, lefts[first : first + 2])
        x, width = some.lefts[0], some.width(SIDE)
        found = WindowModel(segmenter).begin(pixels[:, x : x + width], some, weights)()
        halves[:, :, x : x + width] += found.values
    monkeypatch.setattr(Segmenter, "observe", narrow)
    model = WindowModel(segmenter)
    np.testing.assert_allclose(model.begin(pixels, Segment(0, 0, lefts), weights)().values, halves, atol=1e-6)
    assert tried == [8, 4, 2, 2, 2, 2]
    model.begin(pixels[:, : 20 + SIDE], Segment(0, 0, lefts[:3]), weights)()
    assert tried[6:] == [2, 1]


def test_a_window_that_does_not_fit_alone_is_told(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Segmenter, images: torch.Tensor) -> Evidence:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "observe", full)
    with pytest.raises(DataError, match=r"a window of 32 x 32 pixels does not fit .* make --window smaller"):
        two = Segment(0, 0, (0, 8))
        WindowModel(segmenter).begin(read(two)[0], two, np.ones((SIDE, SIDE), np.float32))

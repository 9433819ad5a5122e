"""Windows through the model: weighted and added up in place, in batches that fit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lpdseg.errors import DataError
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.segmenting.slides.window_model import WindowModel
from lpdseg.slides.grid import Grid

SIDE = 32


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def test_a_strip_is_the_sum_of_its_windows_at_their_places(segmenter: Segmenter) -> None:
    pixels, offsets = windows(4), (0, 16, 48, 50)
    weights = Grid((100, 100), SIDE, 16).weights()
    strip = WindowModel(segmenter).strip(pixels, offsets, weights).values
    wanted = np.zeros((3, SIDE, 50 + SIDE), np.float32)
    for window, x in zip(pixels, offsets, strict=True):
        wanted[:, :, x : x + SIDE] += segmenter.segment(window).probabilities * weights
    assert strip.dtype == np.float32
    np.testing.assert_allclose(strip, wanted, atol=1e-5)


def test_winners_of_a_class_are_those_of_the_heaviest_window(
    segmenter: Segmenter, tiny_lpd: Callable[..., LPD]
) -> None:
    network = tiny_lpd(head=8).eval()
    network.bank.weight.data.mul_(50)  # prototypes that differ
    with_head = segmenter.computed_by(network)
    pixels, offsets, weights = windows(4), (0, 16, 48, 50), Grid((100, 100), SIDE, 16).weights()
    plain = WindowModel(with_head).strip(pixels, offsets, weights)
    strip = WindowModel(with_head).strip(pixels, offsets, weights, prototypes=True)
    assert plain.winners is None and strip.winners is not None
    np.testing.assert_array_equal(strip.values, plain.values)
    evidence = with_head.observe(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), parts=True)
    assert evidence.parts is not None
    shares = torch.nn.functional.interpolate(evidence.parts, size=(SIDE, SIDE), mode="bilinear").numpy()
    won = {0: shares[:, :2].argmax(1), 1: 2 + shares[:, 2:].argmax(1)}
    for x in range(50 + SIDE):
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
    strip = WindowModel(without).strip(windows(1), (0,), np.ones((SIDE, SIDE), np.float32)).values
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

    weights, pixels, offsets = np.ones((SIDE, SIDE), np.float32), windows(8), tuple(range(0, 80, 10))
    halves = np.zeros((3, SIDE, offsets[-1] + SIDE), np.float32)
    for first in range(0, len(pixels), 2):  # batches of the size that is found: another one rounds otherwise
        x, some = offsets[first], offsets[first : first + 2]
        part = WindowModel(segmenter).strip(pixels[first : first + 2], tuple(at - x for at in some), weights).values
        halves[:, :, x : x + part.shape[2]] += part
    monkeypatch.setattr(Segmenter, "observe", narrow)
    model = WindowModel(segmenter)
    np.testing.assert_allclose(model.strip(pixels, offsets, weights).values, halves, atol=1e-6)
    assert tried == [8, 4, 2, 2, 2, 2]
    model.strip(pixels[:3], offsets[:3], weights)
    assert tried[6:] == [2, 1]


def test_a_window_that_does_not_fit_alone_is_told(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Segmenter, images: torch.Tensor) -> Evidence:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "observe", full)
    with pytest.raises(DataError, match=r"a window of 32 x 32 pixels does not fit .* make --window smaller"):
        WindowModel(segmenter).strip(windows(2), (0, 8), np.ones((SIDE, SIDE), np.float32))

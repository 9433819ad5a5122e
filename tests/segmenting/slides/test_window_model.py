"""Windows through the model: weighted and added up in place, in batches that fit."""

import numpy as np
import pytest
import torch

from lpdseg.errors import DataError
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.segmenting.slides.window_model import WindowModel
from lpdseg.slides.grid import Grid

SIDE = 32


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def test_a_strip_is_the_sum_of_its_windows_at_their_places(segmenter: Segmenter) -> None:
    pixels, offsets = windows(4), (0, 16, 48, 50)
    weights = Grid((100, 100), SIDE, 16).weights()
    strip = WindowModel(segmenter).strip(pixels, offsets, weights)
    wanted = np.zeros((3, SIDE, 50 + SIDE), np.float32)
    for window, x in zip(pixels, offsets, strict=True):
        wanted[:, :, x : x + SIDE] += segmenter.segment(window).probabilities * weights
    assert strip.dtype == np.float32
    np.testing.assert_allclose(strip, wanted, atol=1e-5)


def test_channels_are_named_as_they_come(segmenter: Segmenter) -> None:
    assert segmenter.channel_names == ("a", "b", "background")
    without = segmenter.with_settings(background="none")
    assert without.channel_names == ("a", "b")
    strip = WindowModel(without).strip(windows(1), (0,), np.ones((SIDE, SIDE), np.float32))
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
        part = WindowModel(segmenter).strip(pixels[first : first + 2], tuple(at - x for at in some), weights)
        halves[:, :, x : x + part.shape[2]] += part
    monkeypatch.setattr(Segmenter, "observe", narrow)
    model = WindowModel(segmenter)
    np.testing.assert_allclose(model.strip(pixels, offsets, weights), halves, atol=1e-6)
    assert tried == [8, 4, 2, 2, 2, 2]
    model.strip(pixels[:3], offsets[:3], weights)
    assert tried[6:] == [2, 1]


def test_a_window_that_does_not_fit_alone_is_told(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Segmenter, images: torch.Tensor) -> Evidence:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "observe", full)
    with pytest.raises(DataError, match=r"a window of 32 x 32 pixels does not fit .* make --window smaller"):
        WindowModel(segmenter).strip(windows(2), (0, 8), np.ones((SIDE, SIDE), np.float32))

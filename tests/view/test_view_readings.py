"""What a network has said is kept, within bounds, and gives the same masks to the bit."""

from typing import Any

import numpy as np
import torch

from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.view.readings import Readings


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 48, 3), np.uint8)


class Asked:
    """Counts the images that a network reads."""

    def __init__(self, network: Any) -> None:
        self.count, self.read = 0, network.read
        network.read = self

    def __call__(self, images: torch.Tensor, *args: Any) -> Any:
        self.count += len(images)
        return self.read(images, *args)


def test_a_mask_from_memory_is_the_same_to_the_bit(segmenter: Segmenter) -> None:
    images = pictures(3)
    plain = segmenter.segment_batch(images)
    asked = Asked(segmenter.model)
    kept = segmenter.computed_by(readings := Readings(segmenter.model, 1 << 30))
    for repeat in range(2):
        with readings.about(["a", "b", "c"]):
            found = kept.segment_batch(images)
        for one, other in zip(plain, found, strict=True):
            assert (one.mask == other.mask).all() and (one.probabilities == other.probabilities).all(), repeat
    assert asked.count == 3 * len(segmenter.settings.views)


def test_the_network_reads_what_is_new_alone(segmenter: Segmenter) -> None:
    images, views = pictures(3), len(segmenter.settings.views)
    asked = Asked(segmenter.model)
    kept = segmenter.computed_by(readings := Readings(segmenter.model, 1 << 30))
    with readings.about(["b"]):
        kept.segment_batch(images[1:2])
    with readings.about(["a", "b", "c"]):
        found = kept.segment_batch(images)
    assert asked.count == 3 * views
    for image, one in zip(images, found, strict=True):
        np.testing.assert_allclose(one.probabilities, segmenter.segment(image).probabilities, atol=1e-6)


def test_memory_has_bounds(segmenter: Segmenter) -> None:
    kept = segmenter.computed_by(readings := Readings(segmenter.model, 1 << 30))
    with readings.about(["a"]):
        kept.segment_batch(pictures(1))
    one = readings.size
    kept = segmenter.computed_by(readings := Readings(segmenter.model, 3 * one))
    for name in "abcdef":
        with readings.about([name]):
            kept.segment_batch(pictures(1))
        assert readings.knows(name) and readings.size <= 3 * one
        if name == "c":
            with readings.about(["a"]):  # used again, so that b goes first
                kept.segment_batch(pictures(1))
    assert [name for name in "abcdef" if readings.knows(name)] == ["d", "e", "f"]


def test_images_without_a_name_are_not_kept(segmenter: Segmenter) -> None:
    kept = segmenter.computed_by(readings := Readings(segmenter.model, 1 << 30))
    kept.segment_batch(pictures(2))
    assert readings.size == 0

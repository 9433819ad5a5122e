"""The plain loop of calibration and the package choose the same."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from lpdseg.evaluation.calibration import calibrate


@pytest.mark.parametrize("way", ["head, glass", "maps of three scales, power"])
def test_choices_agree(
    way: str, load_benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reference, drawn = map(load_benchmark, ("measuring", "reference_calibration", "calibration"))
    monkeypatch.setattr(drawn, "SIDE", 64)
    segmenter = drawn.make_segmenter(**drawn.WAYS[way])
    split = drawn.draw(segmenter, 3)
    found, plain = calibrate(segmenter, split, offsets=True), reference.plain_calibrate(segmenter, split)
    assert torch.equal(found.thresholds, plain.thresholds) and torch.equal(found.offsets, plain.offsets)

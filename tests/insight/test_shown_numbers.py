"""A network that computes no numbers of some images alone: nothing of it is shown or counted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.records import PatchRecord
from lpdseg.errors import CheckpointError
from lpdseg.evaluation.split import LabelledBatch
from lpdseg.evaluation.worst import patch_figures
from lpdseg.insight.evidence import class_maps, predicted_mask, prototype_values
from lpdseg.insight.sample import segmented
from lpdseg.segmenting.segmenter import Segmenter

PIXELS = np.random.default_rng(0).integers(60, 220, (64, 64, 3), np.uint8)
TRUTH = np.zeros((64, 64), np.uint8)
NO_NUMBERS = "values that are no numbers of these images"


@pytest.fixture
def failing(segmenter: Segmenter) -> Segmenter:
    with torch.no_grad():
        segmenter.model.bank.weight[0, 0] = torch.nan
    return segmenter


@pytest.fixture
def record(tmp_path: Path) -> PatchRecord:
    image, mask = tmp_path / "a.png", tmp_path / "a-mask.png"
    Image.fromarray(PIXELS).save(image)
    Image.fromarray(TRUTH).save(mask)
    return PatchRecord(image, (1, 0), "valid", "p", mask)


@pytest.mark.parametrize("show", [class_maps, predicted_mask, prototype_values])
def test_no_image_is_shown(failing: Segmenter, show: Callable[..., object]) -> None:
    with pytest.raises(CheckpointError, match=NO_NUMBERS):
        show(failing, PIXELS)


def test_no_patch_is_shown(failing: Segmenter, record: PatchRecord) -> None:
    with pytest.raises(CheckpointError, match=NO_NUMBERS):
        segmented(failing, [record], failing.classes, "valid")


def test_no_patch_is_ranked(failing: Segmenter, record: PatchRecord) -> None:
    batch = LabelledBatch(torch.from_numpy(PIXELS).permute(2, 0, 1)[None], TRUTH[None], ("a",))
    with pytest.raises(CheckpointError, match=NO_NUMBERS):
        patch_figures(failing, [record], [batch])

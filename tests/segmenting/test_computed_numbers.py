"""A network that computes no numbers of some images alone: what is tried of it when it is loaded goes well."""

import numpy as np
import pytest
import torch

from lpdseg.errors import CheckpointError
from lpdseg.evaluation.split import LabelledBatch, observe_split
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.window_model import WindowModel

PIXELS = np.random.default_rng(0).integers(60, 220, (64, 64, 3), np.uint8)


@pytest.fixture
def failing(segmenter: Segmenter) -> Segmenter:
    """One of the two classes has no score any more."""
    with torch.no_grad():
        segmenter.model.bank.weight[0, 0] = torch.nan
    return segmenter


def test_no_mask_is_made(failing: Segmenter) -> None:
    with pytest.raises(CheckpointError, match="values that are no numbers of these images"):
        failing.segment(PIXELS)


def test_no_strip_of_a_slide_is_made(failing: Segmenter) -> None:
    begun = WindowModel(failing).begin(PIXELS, Segment(0, 0, (0,)), np.ones((64, 64), np.float32))
    with pytest.raises(CheckpointError, match="values that are no numbers of these images"):
        begun()


def test_no_figure_is_made(failing: Segmenter) -> None:
    images = torch.from_numpy(PIXELS).permute(2, 0, 1)[None]
    with pytest.raises(CheckpointError, match="values that are no numbers of these images"):
        observe_split(failing, [LabelledBatch(images, np.zeros((1, 64, 64), np.uint8), ("a",))])

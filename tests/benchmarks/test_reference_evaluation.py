"""The plain reference of evaluation and the package give the same masks."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from lpdseg.evaluation.confusion import confusion_matrix
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses

VIEWS = "predict.views=[plain,flip,dark,flip_dark,bright,flip_bright]"


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_masks_agree(
    refine: str, tiny_lpd: Callable[..., LPD], load_benchmark: Callable[[str], ModuleType]
) -> None:
    reference = load_benchmark("reference_evaluation")
    weights = ["loss.scale_weights=[0,0.1,1]", "predict.fusion=[0,0.4,0.6]"]
    settings = load_settings(
        None, [*weights, VIEWS, "model.merge=mean", f"predict.refine={refine}", "predict.background=power"]
    )
    model = tiny_lpd().eval()
    classes = TissueClasses(("pink", "blue"), background=2)
    thresholds = [0.5, 0.49]
    segmenter = Segmenter(
        model,
        classes,
        settings.predict,
        Calibration(torch.tensor(thresholds), torch.zeros(2)),
        settings.loss.scale_weights,
        settings.model.merge,
    )
    # Blocks of colour: the maxima of noise are alike everywhere, and normalising such maps enlarges their rounding.
    blocks = torch.randint(256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    prediction = segmenter.decide(segmenter.observe(images), images)
    masks = np.stack(list(reference.reference_masks(model, settings, images, thresholds)))
    assert len(np.unique(masks)) > 1
    np.testing.assert_array_equal(prediction.mask.numpy(), masks)
    truth = np.roll(masks[0], 5)
    counted = reference.count_pixels(truth, masks[0], 3)
    np.testing.assert_array_equal(counted, confusion_matrix(truth, masks[0], 3))

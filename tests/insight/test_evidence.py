from collections.abc import Callable

import numpy as np
import pytest

from lpdseg.insight.evidence import effective_number, prototype_values, winning_shares
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses


@pytest.fixture
def segmenter(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    settings = PredictSettings(fusion=(0, 0.3, 0.7), refine="none")
    model = tiny_lpd(counts=(2, 3)).eval()
    return Segmenter(model, TissueClasses(("A", "B")), settings, Calibration.plain(2), (0.0, 0.5, 1.0), "mean")


def test_cosines_take_one_pass_of_one_view(segmenter: Segmenter) -> None:
    passes: list[tuple[int, ...]] = []
    segmenter.model.encoder.register_forward_pre_hook(lambda _, inputs: passes.append(tuple(inputs[0].shape)))
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    cosines = prototype_values(segmenter, image)
    assert passes == [(1, 3, 48, 64)]
    assert cosines.shape == (5, 37, 53)
    assert np.abs(cosines).max() <= 1 + 1e-5


def test_cosines_see_the_image_as_the_segmenter_pads_it(segmenter: Segmenter) -> None:
    image = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    mirrored = np.pad(image, [(0, 27), (0, 11), (0, 0)], mode="symmetric")
    np.testing.assert_allclose(
        prototype_values(segmenter, image), prototype_values(segmenter, mirrored)[:, :37, :53], atol=1e-6
    )


def test_winning_shares_count_pixels() -> None:
    assert winning_shares(np.array([0, 0, 2, 2]), 4).tolist() == [0.5, 0, 0.5, 0]
    assert winning_shares(np.zeros(0, np.int64), 2).tolist() == [0, 0]


def test_effective_number_of_prototypes() -> None:
    assert effective_number([0.25] * 4) == pytest.approx(4)
    assert effective_number([1.0, 0.0, 0.0]) == pytest.approx(1)
    assert effective_number([]) == 0

from dataclasses import replace

import numpy as np

from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.uncertainty import Uncertainty
from lpdseg.tissue import TissueClasses


def test_areas_of_prototypes_go_by_name() -> None:
    prototypes = np.array([[0, 0, 2], [1, 65535, 2]], np.uint16)
    mask, flat = np.zeros((2, 3), np.uint8), np.zeros((1, 2, 3), np.float32)
    classes, names = TissueClasses(("A", "B"), background=2), ("A 1", "A 2", "B 1", "B 2")
    found = Segmentation(mask, flat, flat, np.zeros(1, np.float32), classes, prototypes, names)
    assert found.prototype_shares == {"A 1": 2 / 6, "A 2": 1 / 6, "B 1": 2 / 6, "B 2": 0.0}


def test_without_prototypes_there_are_no_areas_of_them() -> None:
    mask, flat = np.zeros((2, 3), np.uint8), np.zeros((1, 2, 3), np.float32)
    found = Segmentation(mask, flat, flat, np.zeros(1, np.float32), TissueClasses(("A", "B"), background=2))
    assert found.prototypes is None and found.prototype_shares == {}


def unsure_of(background: int | None) -> Segmentation:
    """Four pixels: sure, unsure, unsure, background."""
    mask = np.array([[0, 0, 1, 2]], np.uint8)
    first = np.array([[0.9, 0.55, 0.44, 0.0]], np.float32)
    second = np.array([[0.05, 0.4, 0.5, 0.1]], np.float32)
    probabilities = np.stack([first, second, 1 - first - second])
    classes = TissueClasses(("A", "B") if background is not None else ("A", "B", "C"), background=background)
    uncertainty = Uncertainty(probabilities, 1.0, 0.2)
    image_level = np.zeros(len(classes), np.float32)
    scores = probabilities[: len(classes)]
    return Segmentation(mask, probabilities, scores, image_level, classes, uncertainty=uncertainty)


def test_the_share_of_tissue_that_is_unsure() -> None:
    assert unsure_of(background=2).unsure_share == 2 / 3
    assert unsure_of(background=None).unsure_share == 2 / 4


def test_without_tissue_or_without_being_asked_for_there_is_no_share() -> None:
    found = unsure_of(background=2)
    assert replace(found, mask=np.full_like(found.mask, 2)).unsure_share is None
    assert replace(found, uncertainty=None).unsure_share is None


def test_what_is_reported_is_rescaled_by_the_temperature() -> None:
    plain = unsure_of(background=2).uncertainty
    assert plain is not None
    hot = replace(plain, temperature=2.0)
    roots = np.sqrt(plain.unscaled)
    np.testing.assert_allclose(hot.probabilities, roots / roots.sum(0), rtol=1e-5)
    best = np.sort(hot.probabilities, axis=0)
    np.testing.assert_allclose(hot.gap, best[2] - best[1], atol=1e-6)
    np.testing.assert_array_equal(hot.grey, np.rint(255 * (1 - hot.gap)))
    np.testing.assert_array_equal(hot.unsure, hot.gap < 0.2)
    assert (hot.entropy > plain.entropy).all()

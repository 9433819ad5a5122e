import numpy as np

from lpdseg.segmenting.segmentation import Segmentation
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

"""Files of a segmentation: what other programs read in them is what was predicted."""

from pathlib import Path

import numpy as np

from lpdseg.export.masks import write_probabilities
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)
DISK = np.array([3, 9, 1], np.uint8)


def test_probabilities_keep_shapes_and_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    scores = rng.random((2, 4, 5), np.float32)
    segmentation = Segmentation(
        DISK[probabilities.argmax(0)], probabilities, scores, np.ones(2, np.float32), CLASSES
    )
    write_probabilities(tmp_path / "x.npz", segmentation)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert found["classes"].tolist() == ["tumour", "stroma", "background"]
        assert found["probabilities"].dtype == np.float16
        np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-3)
        np.testing.assert_allclose(found["scores"], scores, atol=1e-3)

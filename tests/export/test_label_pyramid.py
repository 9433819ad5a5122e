from pathlib import Path

import numpy as np
import tifffile

from lpdseg.export.areas import class_areas
from lpdseg.export.label_pyramid import TILE, halved
from lpdseg.export.label_tiff import write_label_tiff
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)


def test_tiles_of_glass_change_nothing(tmp_path: Path) -> None:
    """Tissue across the edges of tiles, tiles that are all glass or all of one class, and sides that are odd."""
    labels = np.full((2 * TILE + 77, 3 * TILE + 31), 2, np.uint8)
    labels[:TILE, TILE : 2 * TILE] = 0
    rng = np.random.default_rng(0)
    labels[TILE - 40 : TILE + 61, 300:700] = rng.integers(0, 3, (101, 400))
    labels[-9:, -40:] = rng.integers(0, 2, (9, 40))
    height, width = labels.shape
    label_map = LabelMap(labels, (1.0, 1.0), (0.5, 0.5), (width, height), CLASSES)
    write_label_tiff(label_map, tmp_path / "x.tif")
    expected = CLASSES.to_disk()[labels]
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert len(file.pages) == 3
        for page in file.pages:
            np.testing.assert_array_equal(page.asarray(), expected)
            expected = halved(expected)
    assert [area.pixels for area in class_areas(label_map)] == [np.count_nonzero(labels == c) for c in range(2)]

"""A mask too large for memory, read in bands of rows from top to bottom.

H x W pixels of the grid; h rows of a band.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from lpdseg.slides.label_map import LabelMap

BAND_ROWS = 512
"""Rows of a band: at 60,000 pixels width, 31 MB of labels."""


def label_bands(label_map: LabelMap, rows: int = BAND_ROWS) -> Iterator[tuple[int, UInt8[np.ndarray, "h W"]]]:
    """The first row of each band, and its labels: internal indices. The last band may have fewer rows."""
    width, height = label_map.size
    for top in range(0, height, rows):
        yield top, np.asarray(label_map.labels[top : min(top + rows, height), 0:width], np.uint8)

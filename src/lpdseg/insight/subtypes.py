"""The sub-types of generated patches: variants of a tissue that labels do not name, known pixel by pixel."""

import numpy as np
from jaxtyping import UInt8

from lpdseg.data.patches import read_mask
from lpdseg.data.records import PatchRecord
from lpdseg.data.synthetic import CLASSES, SUBTYPES, subtype_path
from lpdseg.tissue import IGNORE, TissueClasses

NO_SUBTYPE = IGNORE
"""Stands for pixels whose sub-type is not known."""


def read_subtypes(record: PatchRecord, classes: TissueClasses, size: tuple[int, ...]) -> UInt8[np.ndarray, "H W"]:
    """The index in `SUBTYPES` of each pixel where the data was generated here, else `NO_SUBTYPE`.

    **Raises:** `DataError` for a mask of sub-types that cannot be read or is not of the patch's `size` (H, W).
    """
    height, width = size
    path = subtype_path(record)
    if path is None or not path.is_file() or classes.names != CLASSES.names:
        return np.full((height, width), NO_SUBTYPE, np.uint8)
    return read_mask(path, TissueClasses(names=tuple(subtype.name for subtype in SUBTYPES)), (height, width))

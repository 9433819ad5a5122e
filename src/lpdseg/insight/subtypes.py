"""Sub-types, variants of a tissue that labels do not name: of generated patches pixel by pixel, of others as their
manifest says.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from lpdseg.data.patches import read_mask
from lpdseg.data.records import PatchRecord
from lpdseg.data.synthetic import CLASSES, SUBTYPES, subtype_path
from lpdseg.tissue import IGNORE, TissueClasses

NO_SUBTYPE = IGNORE
"""Stands for pixels whose sub-type is not known."""

_GENERATED = tuple(subtype.name for subtype in SUBTYPES)


def read_subtypes(record: PatchRecord, classes: TissueClasses, size: tuple[int, ...]) -> UInt8[np.ndarray, "H W"]:
    """The index in `SUBTYPES` of each pixel where the data was generated here, else `NO_SUBTYPE`.

    **Raises:** `DataError` for a mask of sub-types that cannot be read or is not of the patch's `size` (H, W).
    """
    height, width = size
    path = subtype_path(record)
    if path is None or not path.is_file() or classes.names != CLASSES.names:
        return np.full((height, width), NO_SUBTYPE, np.uint8)
    return read_mask(path, TissueClasses(names=tuple(subtype.name for subtype in SUBTYPES)), (height, width))


def subtype_names(records: Sequence[PatchRecord], classes: TissueClasses) -> tuple[str, ...]:
    """The sub-types that a manifest says of its patches; where it says none, those of generated patches."""
    told = {_told(record.subtype, classes)[1] for record in records if record.subtype is not None}
    return tuple(sorted(told)) or _GENERATED


def pixel_subtypes(
    record: PatchRecord, classes: TissueClasses, truth: UInt8[np.ndarray, "H W"], names: tuple[str, ...]
) -> Int[np.ndarray, "H W"]:
    """The index in `names`, see `subtype_names`, of each pixel of a patch; -1 where it is not known.

    **Raises:** as `read_subtypes`.
    """
    if record.subtype is not None:
        name, told = _told(record.subtype, classes)
        inside = True if name is None else truth == classes.names.index(name)
        return np.where(inside, np.full(truth.shape, names.index(told)), -1)
    if names != _GENERATED:
        return np.full(truth.shape, -1)
    found = read_subtypes(record, classes, truth.shape).astype(np.int64)
    return np.where(found == NO_SUBTYPE, -1, found)


def _told(text: str, classes: TissueClasses) -> tuple[str | None, str]:
    """The class and the name of `CLASS=NAME`; of any other text no class, and all of it."""
    before, sign, after = text.partition("=")
    return (before, after) if sign and before in classes.names else (None, text)

"""Sub-types, variants of a tissue that labels do not name: of generated patches pixel by pixel, of others as their
manifest says.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from lpdseg.data.patches import read_mask
from lpdseg.data.records import Manifest, PatchRecord, path_below
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


def subtype_names(records: Sequence[PatchRecord]) -> tuple[str, ...]:
    """The sub-types that a manifest says of its patches; where it says none, those of generated patches."""
    told = {record.subtype for record in records if record.subtype is not None}
    return tuple(sorted(told)) or tuple(subtype.name for subtype in SUBTYPES)


def told_subtypes(manifest: Manifest, split: str) -> str | None:
    """SHA-256 of what a manifest says of the sub-types of a split, as hex digits; None where it says nothing."""
    told = sorted(
        f"{path_below(record.path, manifest.root)}\0{record.subtype}\n"
        for record in manifest.split(split)
        if record.subtype is not None
    )
    return hashlib.sha256("".join(told).encode()).hexdigest() if told else None


def pixel_subtypes(
    record: PatchRecord, classes: TissueClasses, size: tuple[int, ...], names: tuple[str, ...]
) -> Int[np.ndarray, "H W"]:
    """The index in `names`, see `subtype_names`, of each pixel of a patch; -1 where it is not known.

    **Raises:** as `read_subtypes`.
    """
    if record.subtype in names:
        return np.full(size, names.index(record.subtype))
    if names != tuple(subtype.name for subtype in SUBTYPES):
        return np.full(size, -1)
    found = read_subtypes(record, classes, size).astype(np.int64)
    return np.where(found == NO_SUBTYPE, -1, found)

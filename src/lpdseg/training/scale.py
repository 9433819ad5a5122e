"""Whether patches have the magnification that the encoder has learned from."""

from collections.abc import Sequence
from statistics import median

from lpdseg.data.records import PatchRecord
from lpdseg.model.catalogue import native_mpp

_TOLERATED = 2.0
"""Ratio of microns per pixel up to which nothing is said."""


def scale_note(weights: str | None, records: Sequence[PatchRecord]) -> str | None:
    """What to say where the patches' median microns per pixel is far from those that the weights are made for; None
    where it is near them, or one of the two is unknown.
    """
    known = [record.mpp for record in records if record.mpp is not None]
    native = None if weights is None else native_mpp(weights)
    if native is None or not known:
        return None
    finest, coarsest = native
    data = median(known)
    if finest / _TOLERATED <= data <= coarsest * _TOLERATED:
        return None
    learned = f"{finest:g}" if finest == coarsest else f"{finest:g} to {coarsest:g}"
    return (
        f"the patches have {data:g} microns per pixel, but {weights} has learned from {learned}: features may be "
        "worth less than they could; patches of that magnification, or other weights, may do better"
    )

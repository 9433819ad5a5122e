"""What is known of where patches come from: patients, and microns per pixel."""

from collections import Counter
from collections.abc import Sequence

from lpdseg.data.records import PatchRecord

_ONE_PER_FILE = 0.9
"""From this many guessed patients per file on, file names tell files apart and no patients."""

_SAME_SCALE = 1.1
"""Microns per pixel up to this ratio are the same magnification of two scanners."""


def guessed(records: Sequence[PatchRecord]) -> list[PatchRecord]:
    """The patches whose patient was guessed: the beginning of a file name that follows no convention."""
    return [record for record in records if not record.patient_known]


def patients_unknown(records: Sequence[PatchRecord]) -> bool:
    """Whether patients are no more than files: most are guessed, and nearly every file has its own."""
    unsure = guessed(records)
    own = len({record.patient for record in unsure})
    return len(unsure) > 1 and 2 * len(unsure) > len(records) and own >= _ONE_PER_FILE * len(unsure)


def mpp_counts(records: Sequence[PatchRecord]) -> dict[str, int]:
    """Number of patches by microns per pixel, the smallest first; `unknown` where there is no figure."""
    known = Counter(record.mpp for record in records if record.mpp is not None)
    counts = {f"{mpp:g}": known[mpp] for mpp in sorted(known)}
    without = sum(record.mpp is None for record in records)
    return counts | ({"unknown": without} if without else {})


def mpp_differs(records: Sequence[PatchRecord]) -> bool:
    """Whether the patches have several magnifications."""
    known = [record.mpp for record in records if record.mpp is not None]
    return bool(known) and max(known) > _SAME_SCALE * min(known)


def origin_notes(records: Sequence[PatchRecord], split: str) -> list[str]:
    """What must be said beside figures of a split; `records` are those of the whole data set."""
    own = [record for record in records if record.split == split]
    notes = []
    if patients_unknown(records):
        notes.append(
            "patients are unknown, so intervals are over files; they are too narrow where files share a patient"
        )
    elif guessed(own):
        notes.append("patients are guessed from the beginning of file names")
    if mpp_differs(own):
        told = ", ".join(f"{mpp} ({count})" for mpp, count in mpp_counts(own).items())
        notes.append(f"microns per pixel differ within the split {split}: {told}")
    return notes

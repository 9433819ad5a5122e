"""What a patch's file name tells: image-level labels in brackets, the patient, and microns per pixel.

Only the file name is read, never its folders: a bracket in a folder's name is no label.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from lpdseg.errors import DataError
from lpdseg.plain import plain_text
from lpdseg.schema import SCALES

BracketStyle = Literal["digits", "spaces", "commas"]

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_STYLES: dict[BracketStyle, re.Pattern[str]] = {
    "digits": re.compile(r"[01]+"),
    "spaces": re.compile(r"[01](?:\s+[01])+"),
    "commas": re.compile(r"[01](?:\s*,\s*[01])+"),
}
PUBLISHED_STYLES: dict[tuple[BracketStyle, int], str] = {
    ("digits", 4): "bcss",
    ("spaces", 4): "luad",
    ("commas", 3): "wsss4luad",
}
"""How the published data sets write a label into a file name, separators and number of digits → class preset."""

_PATIENT = re.compile(r"(?:^|_)(patient[0-9]+)(?=_|$)", re.IGNORECASE)
_TCGA = re.compile(r"TCGA-[^-_]+-[^-_]+", re.IGNORECASE)
_LEADING_NUMBER = re.compile(r"([0-9]+)-")
_MPP = re.compile(r"MPP-([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class BracketLabel:
    """The label that a file name carries: 0 or 1 per class, and how the digits are separated."""

    values: tuple[int, ...]
    style: BracketStyle


def bracket_label(path: PurePath) -> BracketLabel | None:
    """Reads the last bracket group of the file name: `[1101]`, `[1 0 0 1]` or `[1, 0, 0]`.

    **Returns:** the label, or None where the name has no brackets.

    **Raises:** `DataError` where the brackets hold anything but 0s and 1s in one of the three styles.
    """
    groups = _BRACKETS.findall(path.stem)
    if not groups:
        return None
    text = groups[-1].strip()
    for style, pattern in _STYLES.items():
        if pattern.fullmatch(text):
            return BracketLabel(tuple(int(digit) for digit in re.findall("[01]", text)), style)
    raise DataError(
        f"{path}: [{groups[-1]}] is no label; write a 0 or 1 per class as in [1101], [1 0 0 1] or [1, 0, 0]"
    )


def labels_from_name(path: PurePath, count: int) -> tuple[int, ...] | None:
    """The file name's label, 0 or 1 for each of `count` classes; None where the name has no brackets.

    **Raises:** `DataError` for another number of digits, or brackets that are no label.
    """
    label = bracket_label(path)
    if label is None:
        return None
    if len(label.values) != count:
        raise DataError(
            f"{path}: the label in its name has {len(label.values)} digits, but {count} are expected; "
            "rename the file, or give the classes that it was labelled with"
        )
    return label.values


def patient_from_name(path: PurePath) -> str:
    """The patient, or slide, that a patch was cut from: see `known_patient`, else the part before the first `_`."""
    stem = plain_text(_BRACKETS.sub("", path.stem))
    return known_patient(path) or stem.split("_", 1)[0].strip() or stem.strip() or plain_text(path.stem)


def known_patient(path: PurePath) -> str | None:
    """The patient by the conventions of the published data sets; None for a name that follows none.

    A part `patientN` wins; then the participant of a TCGA barcode (`TCGA-A1-A0SK`); then a leading number
    before `-` (LUAD-HistoSeg, WSSS4LUAD).
    """
    stem = plain_text(_BRACKETS.sub("", path.stem))
    if match := _PATIENT.search(stem):
        return match[1]
    if match := _TCGA.match(stem):
        return match[0].strip().upper()  # as a cell of a manifest
    if match := _LEADING_NUMBER.match(stem):
        return match[1]
    return None


def mpp_from_name(path: PurePath) -> float | None:
    """Microns per pixel from `MPP-0.2500` in the file name; None where it tells none, or one that no image has."""
    match = _MPP.search(path.stem)
    mpp = float(match[1]) if match else 0.0
    return mpp if can_be_mpp(mpp) else None


def can_be_mpp(value: float) -> bool:
    """Whether an image may have so many microns per pixel."""
    return SCALES[0] <= value <= SCALES[1]

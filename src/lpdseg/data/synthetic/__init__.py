"""Generated H&E: patches with known tissues and known sub-types, the same on every machine.

A data set to start with that needs no download, and an instrument: each tissue has a common, typical sub-type and
rarer ones that image-level labels do not name, so what a method learns of them can be measured.
"""

from lpdseg.data.synthetic.dataset import (
    DATASET_FILE,
    PATCHES,
    PATIENTS,
    SUBTYPES_FILE,
    VERSION,
    generate,
    subtype_path,
)
from lpdseg.data.synthetic.patch import SyntheticPatch, generate_patch
from lpdseg.data.synthetic.subtypes import CLASSES, SUBTYPES, SubType, subtype_palette

__all__ = [
    "CLASSES",
    "DATASET_FILE",
    "PATCHES",
    "PATIENTS",
    "SUBTYPES",
    "SUBTYPES_FILE",
    "VERSION",
    "SubType",
    "SyntheticPatch",
    "generate",
    "generate_patch",
    "subtype_palette",
    "subtype_path",
]

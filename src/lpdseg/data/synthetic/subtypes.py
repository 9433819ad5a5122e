"""The tissues of the generated slides and the morphological sub-types that each may show.

The first sub-type of a tissue is the common, typical one; the others are rarer and look more like other tissues.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from lpdseg.tissue import PRESETS

CLASSES = PRESETS["bcss"]
TUMOUR, STROMA, LYMPHOID, NECROSIS, BACKGROUND = range(5)


@dataclass(frozen=True)
class SubType:
    """One morphological sub-type of a tissue.

    **Arguments:**

    - `name`: unique over all tissues.
    - `tissue`: class index, background last.
    - `share`: how often patches of the tissue show it, over all patients; shares of a tissue add up to 1.
    """

    name: str
    tissue: int
    share: float


SUBTYPES: tuple[SubType, ...] = (
    SubType("solid", TUMOUR, 0.50),
    SubType("glandular", TUMOUR, 0.25),
    SubType("cribriform", TUMOUR, 0.15),
    SubType("spindle", TUMOUR, 0.10),
    SubType("collagenous", STROMA, 0.55),
    SubType("desmoplastic", STROMA, 0.27),
    SubType("myxoid", STROMA, 0.18),
    SubType("dense-lymphocytes", LYMPHOID, 0.60),
    SubType("diffuse-infiltrate", LYMPHOID, 0.25),
    SubType("plasma-cells", LYMPHOID, 0.15),
    SubType("coagulative", NECROSIS, 0.55),
    SubType("karyorrhectic", NECROSIS, 0.28),
    SubType("liquefactive", NECROSIS, 0.17),
    SubType("glass", BACKGROUND, 0.50),
    SubType("fat", BACKGROUND, 0.30),
    SubType("tear", BACKGROUND, 0.20),
)
"""The index in this tuple is the value in sub-type masks."""


def of_tissue(tissue: int) -> tuple[int, ...]:
    """Indices of a tissue's sub-types."""
    return tuple(index for index, subtype in enumerate(SUBTYPES) if subtype.tissue == tissue)


def named(name: str) -> int:
    """Index of a sub-type."""
    return next(index for index, subtype in enumerate(SUBTYPES) if subtype.name == name)


def subtype_palette() -> UInt8[np.ndarray, "256 3"]:
    """RGB by sub-type index: shades of the tissue's colour."""
    colours = [*CLASSES.colours, (200, 200, 200)]
    palette = np.zeros((256, 3), np.uint8)
    for tissue, colour in enumerate(colours):
        indices = of_tissue(tissue)
        for place, index in enumerate(indices):
            palette[index] = [value * (len(indices) - place) // len(indices) for value in colour]
    return palette

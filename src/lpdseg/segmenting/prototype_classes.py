"""The prototypes that make a segmenter's masks, as classes of their own, so that they are written as masks are.

H x W pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from lpdseg.errors import SettingsError
from lpdseg.files import replacing
from lpdseg.maps.winners import NO_PROTOTYPE, numbered
from lpdseg.pictures.masks import LEFT_OUT, write_mask
from lpdseg.pictures.shades import shades
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import IGNORE, NO_CLASS, TissueClasses

MOST = NO_CLASS - 1
"""Prototypes that a map of 8 bits can tell apart."""


def check_prototypes(segmenter: Segmenter) -> None:
    """**Raises:** `SettingsError` where no prototypes make the masks, so that there is no map of them."""
    if segmenter.winning is None:
        made = "a head without prototypes" if segmenter.by_head else "class maps"
        raise SettingsError(
            f"the masks of this run are made by {made}, so no pixel of them has a prototype; leave --prototypes out"
        )


def prototype_classes(segmenter: Segmenter) -> TissueClasses:
    """A class for each prototype, whose mask value is its index, and 255 for background.

    They are named as QuPath names what is below a class, such as `TUM: 3` or `TUM: cribriform`, and have shades of
    the class's colour. Those that can win no pixel keep their number, as in `TUM: 4 (not shown)`.

    **Raises:** `SettingsError` as `check_prototypes`, and for more than `MOST`.
    """
    check_prototypes(segmenter)
    winning, parts, classes = segmenter.winning or (), segmenter.model.parts or (), segmenter.classes
    if len(winning) > MOST:
        raise SettingsError(f"a map of 8 bits can tell {MOST} prototypes apart, and this run has {len(winning)}")
    left = {c: iter(shades(colour, winning.count(c))) for c, colour in enumerate(classes.colours) if c in winning}
    return TissueClasses(
        tuple(
            ": ".join(path) if c >= 0 else f"{classes.names[trained]}: {number} (not shown)"
            for path, c, trained, number in zip(
                segmenter.prototype_paths, winning, parts, numbered(parts), strict=True
            )
        ),
        tuple(next(left[c]) if c in left else LEFT_OUT for c in winning),
        background=IGNORE,
        background_colour=classes.background_colour,
        ignored=(),
    )


def described_prototypes(segmenter: Segmenter) -> dict[str, Any]:
    """What the values of `write_prototypes` stand for: `background`, and `names` by value from 0 on."""
    names = segmenter.prototype_names
    return {"names": list(names), "background": _nothing(len(names))}


def write_prototypes(path: Path, prototypes: UInt16[np.ndarray, "H W"], segmenter: Segmenter) -> None:
    """Writes a map of prototypes as a PNG whose pixel values are their indices.

    As a palette PNG of 8 bits in shades of the classes' colours, with 255 for background; in grey of 16 bits, with
    65535, where a run has more than `MOST`.

    **Raises:** `SettingsError` as `check_prototypes`; `OutputError` where the file cannot be written.
    """
    check_prototypes(segmenter)
    if _nothing(len(segmenter.prototype_names)) == IGNORE:
        write_mask(path, prototypes.clip(max=IGNORE).astype(np.uint8), prototype_classes(segmenter))
        return
    with replacing(path) as temporary:
        Image.fromarray(prototypes).save(temporary, format="PNG")


def _nothing(count: int) -> int:
    return IGNORE if count <= MOST else NO_PROTOTYPE

"""What every file of a slide says of itself, in one place: where it lies on the slide, its classes, its model."""

import uuid
from typing import Any

from lpdseg.plain import plain_text
from lpdseg.slides.label_map import LabelMap

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "lpdseg")


def described(label_map: LabelMap) -> dict[str, Any]:
    """Plain values for JSON.

    - `about`: what the model was trained on and what its masks are for, a sentence.
    - `classes`: as `TissueClasses.as_dict`.
    - `level0_per_pixel`, `level0_size`: (x, y) pixels of level 0 per pixel of the grid, and in all.
    - `origin`: the pixel of level 0 that coordinates count from. Pixel (0, 0) of the grid lies at `-origin` there.
    - `scanned`: (x, y, width, height) of the part of level 0 that was scanned; None where that is all.
    """
    bounds = label_map.bounds
    return {
        "about": label_map.about,
        "classes": label_map.classes.as_dict(),
        "level0_per_pixel": list(label_map.scale),
        "level0_size": list(label_map.slide_size),
        "origin": list(label_map.origin),
        "scanned": None if bounds is None else [bounds.x, bounds.y, bounds.width, bounds.height],
    }


def fixed_uuid(label_map: LabelMap, *parts: str) -> uuid.UUID:
    """An identifier that is the same whenever the same is made of the same slide."""
    return uuid.uuid5(_NAMESPACE, plain_text("\n".join([label_map.slide_id, *parts])))

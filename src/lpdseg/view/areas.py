"""How large the tissue of each class is, of what was computed or of a region that somebody draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from lpdseg.errors import LpdsegError
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.view.fields import Frame
from lpdseg.view.run import ShownRun

_MOST = 400
"""Fields under a region whose pixels are counted; a larger one is refused."""


def region_areas(run: ShownRun, index: int, polygon: Sequence[tuple[float, float]] | None) -> dict[str, Any]:
    """Pixels of the grid by channel and by prototype, square millimetres per pixel, and how many are known.

    **Arguments:**

    - `polygon`: in pixels of the full image; None for all of it.
    """
    try:
        frame = run.seen(index).frame
    except LpdsegError as error:
        return {"reason": str(error)}
    classes = np.zeros(len(run.segmenter.classes) + 1, np.int64)
    prototypes = np.zeros(len(run.segmenter.model.parts or ()), np.int64)
    whole, known = frame.size[0] * frame.size[1], run.known(index)
    if polygon is None:
        for counts in known.values():
            classes += counts.classes
            prototypes += counts.prototypes
    else:
        whole = 0
        xs, ys = zip(*polygon, strict=True)
        touched = frame.touched(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        if len(touched) > _MOST:
            return {"reason": "this region is too large to be measured; draw a smaller one"}
        for number in touched:
            inside = inside_field(frame, number, polygon)
            whole += int(inside.sum())
            field = run.field(index, number) if number in known and inside.any() else None
            if field is None:
                continue
            classes += np.bincount(field.mask[inside], minlength=len(classes))
            if field.prototypes is not None:
                won = field.prototypes[inside]
                prototypes += np.bincount(won[won != NO_PROTOTYPE], minlength=len(prototypes))
    return {
        "pixels": classes.tolist(),
        "prototypes": prototypes.tolist(),
        "known": int(classes.sum()),
        "whole": whole,
        "mm2": None if frame.mpp is None else frame.mpp**2 / 1e6,
    }


def inside_field(frame: Frame, number: int, polygon: Sequence[tuple[float, float]]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a field whose middle lies in a polygon of the full image."""
    x, y, width, height = frame.box(number)
    moved = [(px / frame.scale[0] - x - 0.5, py / frame.scale[1] - y - 0.5) for px, py in polygon]
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon(moved, fill=1)
    return np.array(picture, bool)

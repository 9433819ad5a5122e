"""How large the tissue of each class is, of what was computed or of a region that somebody draws."""

from typing import Any

import numpy as np

from lpdseg.errors import LpdsegError
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.view.inside import Polygon, box_of, inside
from lpdseg.view.read_back import read_areas
from lpdseg.view.run import ShownRun

_MOST = 400
"""Fields under a region whose pixels are counted; a larger one is refused."""


def region_areas(run: ShownRun, index: int, polygon: Polygon | None, read: bool = False) -> dict[str, Any]:
    """Pixels of the grid by channel and by prototype, square millimetres per pixel, how many are known, and whether
    they were read; or the `reason` why there are none.

    **Arguments:**

    - `polygon`: in pixels of the full image; None for all of it.
    - `read`: from what `segment` has written, where it has written anything of this item.
    """
    read = read and run.items[index].written is not None
    try:
        found = (read_areas if read else _computed_areas)(run, index, polygon)
    except LpdsegError as error:
        found = {"reason": str(error)}
    return {"read": read, **found}


def _computed_areas(run: ShownRun, index: int, polygon: Polygon | None) -> dict[str, Any]:
    frame = run.seen(index).frame
    classes = np.zeros(len(run.segmenter.classes) + 1, np.int64)
    prototypes = np.zeros(len(run.segmenter.model.parts or ()), np.int64)
    whole, known = frame.size[0] * frame.size[1], run.known(index)
    if polygon is None:
        for counts in known.values():
            classes += counts.classes
            prototypes += counts.prototypes
    else:
        whole = 0
        touched = frame.touched(*box_of(polygon))
        if len(touched) > _MOST:
            return {"reason": "this region is too large to be measured; draw a smaller one"}
        for number in touched:
            within = inside(frame.box(number), frame.scale, polygon)
            whole += int(within.sum())
            field = run.field(index, number) if number in known and within.any() else None
            if field is None:
                continue
            classes += np.bincount(field.mask[within], minlength=len(classes))
            if field.prototypes is not None:
                won = field.prototypes[within]
                prototypes += np.bincount(won[won != NO_PROTOTYPE], minlength=len(prototypes))
    return {
        "pixels": classes.tolist(),
        "prototypes": prototypes.tolist(),
        "known": int(classes.sum()),
        "whole": whole,
        "mm2": None if frame.mpp is None else frame.mpp**2 / 1e6,
    }

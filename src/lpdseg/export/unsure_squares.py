"""Where a slide's mask is least sure, as squares that a person can go through in QuPath, the worst first.

H x W pixels of the grid.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lpdseg.export.bands import label_bands
from lpdseg.export.describing import described, fixed_uuid
from lpdseg.files import write_text
from lpdseg.slides.label_map import LabelMap

SIDE_UM = 128.0
"""Side of a square in microns: about a patch of 20x."""

MOST = 50
"""Squares that are written."""


@dataclass(frozen=True)
class UnsureSquare:
    """A square of the grid, cut off at its right and lower end.

    - `x`, `y`, `width`, `height`: in pixels of the grid.
    - `unsure`: how many of its pixels are.
    """

    x: int
    y: int
    width: int
    height: int
    unsure: int


def unsure_squares(grey: LabelMap, above: float, side_um: float = SIDE_UM, most: int = MOST) -> list[UnsureSquare]:
    """The squares of a slide with most unsure pixels, from the worst on; those without any are left out.

    **Arguments:**

    - `grey`: whose labels are 255 · (1 − gap), see `lpdseg.segmenting.uncertainty`; read in bands.
    - `above`: pixels of higher values are unsure.
    """
    width, height = grey.size
    across, down = (max(1, round(side_um / mpp)) for mpp in grey.mpp)
    lefts = np.arange(0, width, across)
    found: list[UnsureSquare] = []
    for top, values in label_bands(grey, down):
        counts = np.add.reduceat((values > above).sum(0), lefts)
        found += [
            UnsureSquare(x, top, min(across, width - x), min(down, height - top), count)
            for x, count in zip(lefts.tolist(), counts.tolist(), strict=True)
            if count
        ]
        found = sorted(found, key=lambda square: (-square.unsure, square.y, square.x))[:most]
    return found


def write_unsure_squares(grey: LabelMap, path: Path, above: float) -> None:
    """Writes a FeatureCollection of annotations for QuPath, `unsure 1` being the worst, with `Unsure mm^2` and the
    share `Unsure %` of each; pixels of level 0 count from the map's `origin`, as in `write_geojson`.

    **Raises:** `OutputError`.
    """
    features = []
    for number, square in enumerate(unsure_squares(grey, above), start=1):
        corners = [(square.x, square.y), (square.x + square.width, square.y + square.height)]
        (x0, y0), (x1, y1) = (
            [
                round(at * scale - origin, 6)
                for at, scale, origin in zip(corner, grey.scale, grey.origin, strict=True)
            ]
            for corner in corners
        )
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        share = square.unsure / (square.width * square.height)
        measured = {
            "Unsure mm^2": round(square.unsure * grey.mpp[0] * grey.mpp[1] / 1e6, 6),
            "Unsure %": round(100 * share, 2),
        }
        features.append(
            {
                "type": "Feature",
                "id": str(fixed_uuid(grey, "unsure", str(ring))),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "annotation",
                    "name": f"unsure {number}",
                    "isLocked": True,
                    "measurements": measured,
                    "metadata": {"lpdseg": "unsure"},
                },
            }
        )
    whole = {"type": "FeatureCollection", "lpdseg": described(grey), "features": features}
    write_text(path, json.dumps(whole, ensure_ascii=False))

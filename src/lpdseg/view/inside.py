"""Which pixels lie in a region that somebody draws."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

Polygon = Sequence[tuple[float, float]]
"""Corners in pixels of the full image."""


def box_of(polygon: Polygon) -> tuple[float, float, float, float]:
    """x, y, width and height of the rectangle around a polygon."""
    xs, ys = zip(*polygon, strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def inside(box: tuple[int, int, int, int], scale: tuple[float, float], polygon: Polygon) -> Bool[np.ndarray, "h w"]:
    """The pixels of a rectangle of a grid whose middle lies in a polygon.

    **Arguments:**

    - `box`: x, y, width and height in pixels of the grid.
    - `scale`: (x, y) pixels of the full image per pixel of the grid.
    """
    x, y, width, height = box
    moved = [(px / scale[0] - x - 0.5, py / scale[1] - y - 0.5) for px, py in polygon]
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon(moved, fill=1)
    return np.array(picture, bool)

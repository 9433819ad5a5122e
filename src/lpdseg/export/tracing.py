"""Connected regions of a segmented slide as polygons, one after another and without the whole mask in memory.

The mask is cut into tiles. In each tile the parts of regions are outlined, and parts that touch across the edges
of tiles are joined. A region is given as soon as no part of it can follow, so that memory holds a tile and the
outlines of the regions that are still open.

H x W pixels of the grid; h x w of a tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from lpdseg.export.joining import OpenRegions, TracedRegion
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import NO_CLASS

TILE = 2048
"""Side of a tile in pixels."""


@dataclass
class Simplified:
    """What simplification did, counted at pixel centres.

    - `changed`: pixels whose class is another one in the polygons than in the mask.
    - `pixels`: all pixels of the mask.
    """

    changed: int = 0
    pixels: int = 0


def trace_regions(
    label_map: LabelMap, *, tolerance: float = 0.0, tile: int = TILE, simplified: Simplified | None = None
) -> Iterator[TracedRegion]:
    """The regions of all classes; background and glass that was not computed are none.

    **Arguments:**

    - `tolerance`: in pixels. Corners of an outline whose triangle with their neighbours has less area than its
      square are dropped, the smallest first (Visvalingam & Whyatt 1993). A border is simplified once for the
      regions on both sides of it, so that they neither overlap nor leave a gap. The edges of tiles stay as they
      are. 0: outlines follow the pixels.
    - `tile`: side of a tile in pixels.
    - `simplified`: counts what simplification changed.
    """
    width, height = label_map.size
    regions, above = OpenRegions(), np.zeros(width, np.int64)
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        below, left = np.zeros(width, np.int64), np.zeros(bottom - top, np.int64)
        for start in range(0, width, tile):
            stop = min(start + tile, width)
            labels = np.asarray(label_map.labels[top:bottom, start:stop], np.uint8)
            if simplified is not None:
                simplified.pixels += labels.size
            if labels.min() >= len(label_map.classes):  # most of a slide is glass
                left = np.zeros(bottom - top, np.int64)
                continue
            parts, index = label_parts(labels, len(label_map.classes))
            polygons = _outlines(parts, index, (start, top), tolerance, simplified)
            numbered = regions.add(parts, index, polygons)
            regions.join(above[start:stop], numbered(parts[0]))
            regions.join(left, numbered(parts[:, 0]))
            below[start:stop], left = numbered(parts[-1]), numbered(parts[:, -1])
        above = regions.close(below)
        yield from regions.take_closed()
    regions.close(np.zeros(0, np.int64))
    yield from regions.take_closed()


def label_parts(
    labels: UInt8[np.ndarray, "h w"], classes: int
) -> tuple[Int[np.ndarray, "h w"], UInt8[np.ndarray, " parts"]]:
    """Numbers the connected parts of a tile from 1, 0 where there is no class; and the class of each part."""
    from scipy import ndimage

    numbers = np.zeros(labels.shape, np.int32)
    index: list[int] = []
    for c, box in enumerate(ndimage.find_objects(labels.astype(np.int32) + 1, classes)):
        if box is not None:
            here = labels[box] == c
            found, count = ndimage.label(here)
            np.add(numbers[box], found + len(index), out=numbers[box], where=here)
            index += [c] * count
    return numbers, np.array(index, np.uint8)


def _outlines(
    parts: Int[np.ndarray, "h w"],
    index: UInt8[np.ndarray, " parts"],
    corner: tuple[int, int],
    tolerance: float,
    simplified: Simplified | None,
) -> list[Any]:
    """The polygon of each part, in pixels of the grid."""
    import shapely
    from rasterio.features import rasterize, shapes
    from rasterio.transform import Affine

    place = Affine.translation(*corner)
    # Background has outlines as well where borders are simplified: otherwise its side of them would be the frame.
    mask = None if tolerance > 0 else parts > 0
    found = list(shapes(parts, mask=mask, connectivity=4, transform=place))
    polygons = _polygons([shape["coordinates"] for shape, _ in found])
    if tolerance > 0:
        # Neighbours need the same points along their border, also where only one of them has a corner.
        stepped = shapely.transform(shapely.segmentize(polygons, 1.0), np.rint)
        polygons = shapely.coverage_simplify(stepped, tolerance, simplify_boundary=False)
        if simplified is not None:
            numbered = zip(polygons, (int(value) for _, value in found), strict=True)
            drawn = rasterize(numbered, parts.shape, transform=place, dtype="int32")
            classes = np.append(NO_CLASS, index)
            simplified.changed += int(np.count_nonzero(classes[drawn] != classes[parts]))
        polygons = shapely.simplify(polygons, 0)  # the points that were added on straight lines
    outlined: list[Any] = [None] * len(index)
    for (_, value), polygon in zip(found, polygons, strict=True):
        if value > 0:
            outlined[int(value) - 1] = polygon
    return outlined


def _polygons(shapes: list[list[list[tuple[float, float]]]]) -> Any:
    """Polygons, each from its outer ring and its holes; all at once, which is much faster than one by one."""
    import shapely

    rings = [ring for shape in shapes for ring in shape]
    corners = np.array([corner for ring in rings for corner in ring], np.float64).reshape(-1, 2)
    closed = shapely.linearrings(corners, indices=np.arange(len(rings)).repeat([len(ring) for ring in rings]))
    return shapely.polygons(closed, indices=np.arange(len(shapes)).repeat([len(shape) for shape in shapes]))

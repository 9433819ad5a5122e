"""Rings of a polygon that touch: the point of contact in both, so that they still touch after any scaling."""

from typing import Any

import numpy as np


def with_contacts(polygon: Any) -> Any:
    """The same polygon, with a point wherever a corner of one ring lies on a slanted line of another.

    Such a corner is exactly on the line in whole pixels, but after scaling and rounding it may be beyond it by the
    last digit, so that the rings cross and the polygon is invalid. A point that both have is rounded alike in both.
    Lines along the axes stay so however they are scaled.

    **Arguments:**

    - `polygon`: a valid shapely Polygon with whole coordinates.
    """
    import shapely

    if not polygon.interiors:
        return polygon
    rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    starts, ends = np.concatenate([ring[:-1] for ring in rings]), np.concatenate([ring[1:] for ring in rings])
    slanted = np.flatnonzero((starts != ends).all(1))
    if not len(slanted):
        return polygon
    lines = shapely.linestrings(np.stack([starts[slanted], ends[slanted]], 1))
    found = shapely.STRtree(shapely.points(starts)).query(lines, predicate="intersects")
    edge, corner = slanted[found[0]], starts[found[1]]
    between = (corner != starts[edge]).any(1) & (corner != ends[edge]).any(1)
    if not between.any():
        return polygon
    edge, corner = edge[between], corner[between]
    along = np.abs(corner - starts[edge]).sum(1)
    order = np.lexsort((along, edge))
    edge, corner = edge[order], corner[order]
    whole, first = [], 0
    for ring in rings:
        inside = slice(*np.searchsorted(edge, (first, first + len(ring) - 1)))
        whole.append(np.insert(ring, edge[inside] - first + 1, corner[inside], axis=0))
        first += len(ring) - 1
    return shapely.Polygon(whole[0], whole[1:])

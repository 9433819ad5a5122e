"""What a feature of QuPath's GeoJSON tells: which of its objects it is, its class, its area and its lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float

from lpdseg.data.crossings import Crossings
from lpdseg.errors import DataError
from lpdseg.plain import name_key
from lpdseg.tissue import Colour

NO_AREA = "points and lines"
DEGENERATE = "outlines that enclose no area"

_LINES = ("Point", "MultiPoint", "LineString", "MultiLineString")
_DEEPEST = 20
"""Levels of collections in collections."""
_FARTHEST = 1e7
"""Pixels from the corner: no slide is as wide."""

_OTHER_OBJECTS = {
    *("PathTileObject", "tile", "PathCellObject", "cell", "PathDetectionObject", "detection"),
    *("TMACoreObject", "tmaCore", "tma_core"),
}
"""What QuPath calls objects that are neither annotations nor the root. What it does not know is an annotation."""

_ROOT = ("PathRootObject", "root")

_FRAME = "Region*"
"""QuPath's class for a frame around what is looked at: neither tissue nor an area to leave out."""


def reason_to_pass(feature: dict[str, Any], parts: Sequence[str], names: Sequence[str] | None) -> str | None:
    """Why a feature of a class is no region, as notes call its like; empty for the root; None where it is one.

    `parts` are those of its class, see `class_of`; `names` those that whoever asks has named.
    """
    kind = _kind(feature, feature.get("properties") or {})
    if kind in _ROOT:
        return ""
    if kind in _OTHER_OBJECTS:
        return "cells, detections and other objects that are no annotations"
    if not parts:
        return "features without a class"
    if is_ignored(parts, names) and _FRAME in parts:
        return f"regions of the ignored class {_FRAME}"
    if _on_other_plane(feature.get("geometry")):
        return "regions on other planes than z 0, t 0"
    return None


def is_ignored(parts: Sequence[str], names: Sequence[str] | None) -> bool:
    """Whether QuPath ignores a class; not where whoever asks has named it."""
    return any(part.endswith("*") for part in parts) and (names is None or ": ".join(parts) not in names)


def taken_class(parts: Sequence[str], names: Sequence[str] | None, where: str) -> str:
    """The class that a feature counts as, of `names`, or any where these are None.

    **Raises:** `DataError` where it is none of them.
    """
    shown = ": ".join(parts)
    if names is None:
        return shown
    for length in range(len(parts), 0, -1):
        if (name := ": ".join(parts[:length])) in names:
            return name
    raise DataError(
        f"{where} has the class {shown!r}, but the classes are {', '.join(names)}; call it one of these, where it "
        "was drawn or in the file, or give the right classes with --classes"
    )


def class_of(properties: dict[str, Any], where: str) -> tuple[list[str], Colour | None]:
    """The names of a feature's class, from the one that the others are derived from, and its colour."""
    told = properties.get("classification")
    if not told:
        return [], None
    if isinstance(told, str):
        return _split([told]), None
    names = _names(told) if isinstance(told, dict) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where} has the classification {told!r}, which has no name; classify it in QuPath again")
    return _split(names), _colour(told)


def _names(told: dict[str, Any]) -> list[Any] | None:
    if "names" in told:
        return told["names"] if isinstance(told["names"], list) else None
    names: list[Any] = []
    holder: Any = told
    while isinstance(holder, dict) and len(names) < 100:  # before version 0.4 a class held its parent
        names += [holder["name"]] if holder.get("name") else []
        holder = holder.get("parentClass")
    return names[::-1]


def _split(names: list[str]) -> list[str]:
    return [name_key(part.strip()) for name in names for part in name.split(": ") if part.strip()]


def _colour(told: dict[str, Any]) -> Colour | None:
    """RGB, from three numbers or, before QuPath 0.4, one; None for anything else, since it is only a colour."""
    packed, colour = told.get("colorRGB"), told.get("color")
    if isinstance(packed, int):
        colour = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    if not isinstance(colour, list) or len(colour) < 3:
        return None
    if not all(isinstance(value, int) and 0 <= value <= 255 for value in colour[:3]):
        return None
    return colour[0], colour[1], colour[2]


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> Any:
    """The type of an object; version 0.2 of QuPath wrote it as the feature's id."""
    known = (properties.get(key) for key in ("objectType", "object_type", "type"))
    told = next((value for value in known if value is not None), feature.get("id"))
    return told if isinstance(told, str) else None


def _on_other_plane(told: Any) -> bool:
    plane = told.get("plane") if isinstance(told, dict) else None
    return isinstance(plane, dict) and any(plane.get(axis) not in (None, 0) for axis in ("z", "t"))


def area_of(told: Any, where: str, crossings: Crossings) -> tuple[Any, str]:
    """A valid polygon or None, and the kind of what was passed over, empty where nothing was.

    **Raises:** `DataError` for one that cannot be read, or crosses more than is left to its file.
    """
    import shapely

    polygons, lines = _polygons(told, where)
    if not polygons:
        return None, NO_AREA
    outlines = [found for rings in polygons if (found := _rings(rings, where))]
    every = [ring for rings in outlines for ring in rings]
    with _told(where):
        if len(every) > 1 or (every and not shapely.Polygon(every[0]).is_valid):
            crossings.count(every)
        shapes = [shape for rings in outlines if (shape := _polygon(rings)) is not None]
        if not shapes:
            return None, DEGENERATE
        return (shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)), NO_AREA if lines else ""


def lines_of(told: Any, where: str, crossings: Crossings) -> Any:
    """The lines of a geometry as a shapely LineString or MultiLineString; None where it has none.

    **Raises:** as `area_of`.
    """
    import shapely

    with _told(where):
        found = []
        for one in _simple(told, where):
            if one.get("type") in ("LineString", "MultiLineString"):
                lines = one["coordinates"] if one["type"] == "MultiLineString" else [one["coordinates"]]
                found += [_points(line) for line in lines]
        if not found:
            return None
        crossings.count(found)
        shapes = [shapely.LineString(line) for line in found]
        return shapes[0] if len(shapes) == 1 else shapely.MultiLineString(shapes)


def _polygons(told: Any, where: str) -> tuple[list[Any], bool]:
    """The rings of all polygons of a geometry, and whether it has points and lines beside them."""
    polygons: list[Any] = []
    parts = _simple(told, where)
    for one in parts:
        kind = one.get("type")
        if kind in _LINES:
            continue
        if kind not in ("Polygon", "MultiPolygon"):
            raise DataError(
                f"{where} has a geometry of type {kind!r}; Polygon, MultiPolygon and collections can be read"
            )
        rings = one.get("coordinates")
        if not isinstance(rings, list):
            raise DataError(f"{where} has an outline that cannot be read (no coordinates); draw it again")
        polygons += rings if kind == "MultiPolygon" else [rings]
    return polygons, any(one.get("type") in _LINES for one in parts) or told is None


def _simple(told: Any, where: str, depth: int = 0) -> list[dict[str, Any]]:
    """A geometry, or those of a collection."""
    if told is None:
        return []
    if not isinstance(told, dict):
        raise DataError(f"{where} has a geometry of type None; draw it again")
    if told.get("type") != "GeometryCollection" or not isinstance(told.get("geometries"), list):
        return [told]
    if depth == _DEEPEST:
        raise DataError(f"{where} has collections within collections, {depth} deep; draw it again")
    return [one for part in told["geometries"] for one in _simple(part, where, depth + 1)]


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever coordinates make shapely throw becomes a `DataError`."""
    import shapely

    try:
        yield
    except (shapely.errors.ShapelyError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise DataError(f"{where} has an outline that cannot be read ({error}); draw it again") from error


def _points(told: Any) -> Float[np.ndarray, "n 2"]:
    points = np.array(told, np.float64).reshape(len(told), -1)[:, :2]
    if points.shape[1] != 2:
        raise ValueError("a point has one number")
    if not np.isfinite(points).all():
        raise ValueError("a number is not finite")
    if np.abs(points).max(initial=0) > _FARTHEST:
        raise ValueError(f"a point lies over {_FARTHEST:,.0f} pixels from the corner of its image")
    return points


def _rings(told: Any, where: str) -> list[Float[np.ndarray, "_n 2"]]:
    """The outline of a polygon and those of its holes, closed; none where it encloses nothing, as fewer than three
    points do.
    """
    with _told(where):
        points = [_points(ring) for ring in told if len(ring)]
        if not points or not len(told[0]) or len(points[0]) < 3:
            return []
        return [np.concatenate([ring, ring[:1]]) for ring in points if len(ring) >= 3]


def _polygon(rings: Sequence[Float[np.ndarray, "_n 2"]]) -> Any:
    """A valid polygon of some area, or None."""
    import shapely

    shape, *holes = (_repaired(shapely.Polygon(ring)) for ring in rings)
    return less(shape, shapely.union_all(holes) if holes else None)


def _repaired(shape: Any) -> Any:
    import shapely

    return shape if shape.is_valid else shapely.make_valid(shape, method="structure", keep_collapsed=False)


def less(geometry: Any, other: Any = None) -> Any:
    """The polygons of a geometry without those of another; None where nothing is left."""
    import shapely

    left = geometry if other is None else shapely.difference(geometry, other)
    if left.geom_type == "GeometryCollection":
        left = shapely.union_all([part for part in left.geoms if part.area > 0])
    return left if left.area > 0 else None

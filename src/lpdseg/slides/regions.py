"""Regions that people drew on a slide, by QuPath's rules: which of its objects are tissue, and of which class."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.errors import DataError
from lpdseg.extras import needed
from lpdseg.plain import name_key
from lpdseg.slides.region_file import REGION_SUFFIXES, read_features
from lpdseg.tissue import Colour

__all__ = ["REGION_SUFFIXES", "Region", "RegionFile", "read_regions"]

_FRAME = "Region*"
"""QuPath's class for a frame around what is looked at: neither tissue nor an area to leave out."""

_NO_CLASS = "features without a class"
_NO_AREA = "points and lines"
_NO_ANNOTATION = "cells, detections and other objects that are no annotations"
_OTHER_PLANE = "regions on other planes than z 0, t 0"
_DEGENERATE = "outlines that enclose no area"
_GONE = "regions that lie within areas of ignored classes"

_LINES = ("Point", "MultiPoint", "LineString", "MultiLineString")

_OTHER_OBJECTS = {
    *("PathTileObject", "tile", "PathCellObject", "cell", "PathDetectionObject", "detection"),
    *("TMACoreObject", "tmaCore", "tma_core"),
}
"""What QuPath calls objects that are neither annotations nor the root. What it does not know is an annotation."""

_ROOT = ("PathRootObject", "root")


@dataclass(frozen=True)
class Region:
    """An area of one class.

    - `name`: of its class.
    - `geometry`: shapely Polygon or MultiPolygon in pixels of level 0, valid.
    - `colour`: RGB in 0..255 of its class where the file tells.
    """

    name: str
    geometry: Any
    colour: Colour | None = None


@dataclass(frozen=True)
class RegionFile:
    """What a file of regions holds.

    - `passed_over`: how many features were passed over, by what they are.
    - `cut_out`: how many areas of ignored classes were cut out of the regions, by class.
    - `derived`: how many regions have a derived class, by its name and the class that they count as.
    """

    path: Path
    regions: tuple[Region, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    cut_out: Mapping[str, int] = field(default_factory=dict)
    derived: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """What a person should know of the file, in sentences."""
        for kind, count in self.passed_over.items():
            yield f"{self.path}: passed over {kind} ({count})"
        for name, count in self.cut_out.items():
            yield f"{self.path}: cut the areas of the ignored class {name} out of the regions ({count})"
        for (name, taken), count in self.derived.items():
            counts = f"counts as {taken}" if name != taken else "is a class of its own; --classes can join it"
            yield f"{self.path}: the derived class {name} {counts} ({count})"

    def moved(self, x: float, y: float) -> "RegionFile":
        """The same regions, moved by pixels of level 0."""
        import shapely

        moved = (
            replace(region, geometry=shapely.transform(region.geometry, lambda points: np.add(points, (x, y))))
            for region in self.regions
        )
        return replace(self, regions=tuple(moved))


def read_regions(path: Path, names: Sequence[str] | None = None) -> RegionFile:
    """Reads the regions of one slide.

    As in QuPath, only annotations are regions, and a class whose name ends in `*` is ignored: `Region*` is passed
    over, the area of any other, such as `Ignore*`, is cut out of all regions. What is passed over is counted.

    **Arguments:**

    - `path`: a file that `read_features` reads.
    - `names`: the classes that may occur; None for any. Names of derived classes are joined as QuPath shows them:
      `Tumor: Positive`. One that is none of `names` counts as the nearest class that it is derived from.

    **Returns:** regions in the order of the file, in its coordinates. Outlines that cross themselves are repaired;
    of a GeometryCollection the polygons count.

    **Raises:** `DataError` that names the file and the feature, for a file that cannot be read or is no GeoJSON, a
    class that is none of `names`, and an outline that is no polygon; `SettingsError` where the extra `slides` is
    missing.
    """
    needed("slides", "shapely")
    import shapely

    spelt = {name_key(name): name for name in names or ()}
    names = None if names is None else list(spelt)
    regions: list[Region] = []
    ignored: list[Any] = []
    passed, cut, derived = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for where, feature in read_features(path):
        properties = feature.get("properties") or {}
        kind = _kind(feature, properties)
        parts, colour = _class_of(properties, where)
        if kind in _ROOT:
            continue
        if kind in _OTHER_OBJECTS:
            passed[_NO_ANNOTATION] += 1
        elif not parts:
            passed[_NO_CLASS] += 1
        elif _is_ignored(parts, names) and _FRAME in parts:
            passed[f"regions of the ignored class {_FRAME}"] += 1
        elif _on_other_plane(feature.get("geometry")):
            passed[_OTHER_PLANE] += 1
        else:
            shown = ": ".join(parts)
            geometry, without = _geometry(feature.get("geometry"), f"{where} ({shown})")
            name = "" if _is_ignored(parts, names) else _taken(parts, names, where)
            if without:
                passed[without] += 1
            if geometry is None:
                continue
            if not name:
                ignored.append(geometry)
                cut[shown] += 1
                continue
            if len(parts) > 1 and (names is None or name != shown):
                derived[shown, name] += 1
            regions.append(Region(spelt.get(name, name), geometry, colour))
    if ignored:
        without_ignored = shapely.union_all(ignored)
        regions = [replace(one, geometry=_less(one.geometry, without_ignored)) for one in regions]
        kept = [region for region in regions if region.geometry is not None]
        passed[_GONE] += len(regions) - len(kept)
        regions = kept
    return RegionFile(path, tuple(regions), dict(+passed), dict(cut), dict(derived))


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> Any:
    """The type of an object; version 0.2 of QuPath wrote it as the feature's id."""
    known = (properties.get(key) for key in ("objectType", "object_type", "type"))
    told = next((value for value in known if value is not None), feature.get("id"))
    return told if isinstance(told, str) else None


def _is_ignored(parts: Sequence[str], names: Sequence[str] | None) -> bool:
    """Whether QuPath ignores a class; not where whoever asks has named it."""
    return any(part.endswith("*") for part in parts) and (names is None or ": ".join(parts) not in names)


def _taken(parts: Sequence[str], names: Sequence[str] | None, where: str) -> str:
    """The class that a feature counts as."""
    shown = ": ".join(parts)
    if names is None:
        return shown
    for length in range(len(parts), 0, -1):
        if (name := ": ".join(parts[:length])) in names:
            return name
    raise DataError(
        f"{where} has the class {shown!r}, but the classes are {', '.join(names)}; rename it in QuPath, or give "
        "the right classes with --classes"
    )


def _class_of(properties: dict[str, Any], where: str) -> tuple[list[str], Colour | None]:
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


def _on_other_plane(told: Any) -> bool:
    plane = told.get("plane") if isinstance(told, dict) else None
    return isinstance(plane, dict) and any(plane.get(axis) not in (None, 0) for axis in ("z", "t"))


def _geometry(told: Any, where: str) -> tuple[Any, str]:
    """A valid polygon or None, and the kind of what was passed over, empty where nothing was."""
    import shapely

    polygons, lines = _polygons(told, where)
    if not polygons:
        return None, _NO_AREA
    shapes = [shape for shape in (_polygon(rings, where) for rings in polygons) if shape is not None]
    if not shapes:
        return None, _DEGENERATE
    return (shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)), _NO_AREA if lines else ""


def _polygons(told: Any, where: str) -> tuple[list[Any], bool]:
    """The rings of all polygons of a geometry, and whether it has points and lines beside them."""
    kind = told.get("type") if isinstance(told, dict) else None
    if told is None or kind in _LINES:
        return [], True
    if kind == "GeometryCollection" and isinstance(told.get("geometries"), list):
        found = [_polygons(part, where) for part in told["geometries"]]
        return [rings for polygons, _ in found for rings in polygons], any(lines for _, lines in found)
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError(
            f"{where} has a geometry of type {kind!r}; Polygon, MultiPolygon and collections of them can be read"
        )
    rings = told.get("coordinates")
    if not isinstance(rings, list):
        raise DataError(f"{where} has an outline that cannot be read (no coordinates); draw it again")
    return (rings if kind == "MultiPolygon" else [rings]), False


def _polygon(rings: Any, where: str) -> Any:
    """A valid polygon of some area, or None; a ring of fewer than three points encloses nothing."""
    import shapely

    try:
        points = [np.array(ring, np.float64).reshape(len(ring), -1)[:, :2] for ring in rings if len(ring)]
        if any(one.shape[1] != 2 for one in points):
            raise ValueError("a point has one number")
        if not all(np.isfinite(one).all() for one in points):
            raise ValueError("a number is not finite")
        if not points or not len(rings[0]) or len(points[0]) < 3:
            return None
        shape, *holes = (_repaired(shapely.Polygon(ring)) for ring in points if len(ring) >= 3)
    except (shapely.errors.ShapelyError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"{where} has an outline that cannot be read ({error}); draw it again") from error
    return _less(shape, shapely.union_all(holes) if holes else None)


def _repaired(shape: Any) -> Any:
    import shapely

    return shape if shape.is_valid else shapely.make_valid(shape, method="structure", keep_collapsed=False)


def _less(geometry: Any, other: Any = None) -> Any:
    """The polygons of a geometry without those of another; None where nothing is left."""
    import shapely

    left = geometry if other is None else shapely.difference(geometry, other)
    if left.geom_type == "GeometryCollection":
        left = shapely.union_all([part for part in left.geoms if part.area > 0])
    return left if left.area > 0 else None

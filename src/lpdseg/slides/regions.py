"""Regions that people drew on a slide: GeoJSON as QuPath exports it."""

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.errors import DataError
from lpdseg.extras import needed
from lpdseg.tissue import Colour

REGION_SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz")
"""How files of regions end."""


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

    - `without_class`: features without a class, which were passed over.
    - `without_area`: points and lines, which were passed over.
    """

    path: Path
    regions: tuple[Region, ...]
    without_class: int = 0
    without_area: int = 0

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

    **Arguments:**

    - `path`: a GeoJSON FeatureCollection, a list of features or a single one, as QuPath exports them; compressed
      where the name ends in `.gz`. Names of derived classes are joined as QuPath shows them: `Tumor: Positive`.
    - `names`: the classes that may occur; None for any.

    **Returns:** regions in the order of the file, in its coordinates. Outlines that cross themselves are repaired.

    **Raises:** `DataError` that names the file and the feature, for a file that cannot be read or is no GeoJSON, a
    class that is none of `names`, and an outline that encloses nothing or is no polygon; `SettingsError` where the
    extra `slides` is missing.
    """
    needed("slides", "shapely")
    regions: list[Region] = []
    without_class = without_area = 0
    for number, feature in enumerate(_features(path), 1):
        where = f"{path}, feature {number}"
        if not isinstance(feature, dict) or not isinstance(feature.get("properties") or {}, dict):
            raise DataError(f"{where} is no GeoJSON feature; export the regions from QuPath again")
        name, colour = _class_of(feature.get("properties") or {}, where)
        if name is None:
            without_class += 1
            continue
        if names is not None and name not in names:
            raise DataError(
                f"{where} has the class {name!r}, but the classes are {', '.join(names)}; rename it in QuPath, or "
                "give the right classes with --classes"
            )
        geometry = _geometry(feature.get("geometry"), f"{where} ({name})")
        if geometry is None:
            without_area += 1
        else:
            regions.append(Region(name, geometry, colour))
    return RegionFile(path, tuple(regions), without_class, without_area)


def _features(path: Path) -> list[Any]:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
        value = json.loads(text)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or no gzip file; export the regions again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); change its rights") from error
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
        raise DataError(f"{path} is no JSON ({error}); export the regions from QuPath as GeoJSON") from error
    if isinstance(value, dict) and value.get("type") == "Feature":
        return [value]
    features = value.get("features") if isinstance(value, dict) else value
    if not isinstance(features, list):
        raise DataError(f"{path} is no GeoJSON FeatureCollection; export the regions from QuPath as GeoJSON")
    return features


def _class_of(properties: dict[str, Any], where: str) -> tuple[str | None, Colour | None]:
    """Name and colour of a feature's class, None where it has none."""
    told = properties.get("classification")
    if not told:
        return None, None
    if isinstance(told, str):
        return told.strip() or None, None
    names = told.get("names", [told["name"]] if told.get("name") else []) if isinstance(told, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where} has the classification {told!r}, which has no name; classify it in QuPath again")
    return ": ".join(name.strip() for name in names) or None, _colour(told)


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


def _geometry(told: Any, where: str) -> Any:
    """A valid polygon; None for points and lines."""
    import shapely
    from shapely.geometry import shape

    kind = told.get("type") if isinstance(told, dict) else None
    if told is None or kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        return None
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError(f"{where} has a geometry of type {kind!r}; Polygon and MultiPolygon can be read")
    try:
        with np.errstate(invalid="ignore"):
            geometry = shape(told)
        finite = bool(np.isfinite(shapely.get_coordinates(geometry)).all())
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{where} has an outline that cannot be read ({error}); draw it again") from error
    if finite and not geometry.is_valid:
        geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    if not finite or not geometry.area > 0:
        raise DataError(f"{where} has an outline that encloses no area; draw it again or remove it")
    return geometry

"""Regions that people drew on a slide, by QuPath's rules: which of its objects are tissue, and of which class."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.data.crossings import Crossings
from lpdseg.data.qupath import area_of, class_of, is_ignored, less, reason_to_pass, taken_class
from lpdseg.data.region_file import REGION_SUFFIXES, read_features
from lpdseg.errors import DataError
from lpdseg.extras import needed
from lpdseg.plain import name_key
from lpdseg.tissue import Colour

__all__ = ["REGION_SUFFIXES", "Region", "RegionFile", "read_regions"]

_GONE = "regions that lie within areas of ignored classes"


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
    crossings = Crossings()
    passed, cut, derived = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for where, feature in read_features(path):
        parts, colour = class_of(feature.get("properties") or {}, where)
        passed_over = reason_to_pass(feature, parts, names)
        if passed_over is not None:
            passed[passed_over] += bool(passed_over)
        else:
            shown = ": ".join(parts)
            geometry, without = area_of(feature.get("geometry"), f"{where} ({shown})", crossings)
            name = "" if is_ignored(parts, names) else taken_class(parts, names, where)
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
    _count_together([*(region.geometry for region in regions), *ignored], crossings, path)
    if ignored:
        without_ignored = shapely.union_all(ignored)
        regions = [replace(one, geometry=less(one.geometry, without_ignored)) for one in regions]
        kept = [region for region in regions if region.geometry is not None]
        passed[_GONE] += len(regions) - len(kept)
        regions = kept
    return RegionFile(path, tuple(regions), dict(+passed), dict(cut), dict(derived))


def _count_together(areas: Sequence[Any], crossings: Crossings, path: Path) -> None:
    """Areas are joined and cut out of one another, so what crosses counts as where it is one area's."""
    import shapely

    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(areas)] if len(areas) > 1 else []
    if not rings:
        return
    try:
        crossings.count(rings, most=crossings.left)
    except ValueError as error:
        raise DataError(
            f"the outlines of {path} cross one another too many times to be joined; draw them again, or split the "
            "file"
        ) from error

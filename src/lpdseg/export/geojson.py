"""A segmented slide as annotations for QuPath: GeoJSON, one feature per connected region."""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lpdseg.errors import SettingsError
from lpdseg.export.contacts import with_contacts
from lpdseg.export.describing import described, fixed_uuid
from lpdseg.export.joining import TracedRegion
from lpdseg.export.tracing import TILE, Simplified, trace_regions
from lpdseg.extras import needed
from lpdseg.files import replacing
from lpdseg.slides.label_map import LabelMap

_DECIMALS = 6  # of a pixel of level 0: finer than the distance of any point from a line that it does not lie on

_AT_ONCE = 256

_LEVEL = 6  # of gzip: 9 takes ten times as long for 5 % less


@dataclass(frozen=True)
class GeoJsonSummary:
    """What `write_geojson` wrote.

    - `regions`: how many features each class has, by name.
    - `left_out`: regions below the smallest area.
    - `left_out_mm2`: their area.
    - `changed`: share of the mask's pixels, in 0..1, whose centre simplification gave to another class or to
      background; regions that were left out do not count. 0 where nothing was simplified.
    """

    regions: dict[str, int]
    left_out: int
    left_out_mm2: float
    changed: float

    @property
    def features(self) -> int:
        """Features in the file."""
        return sum(self.regions.values())


def write_geojson(
    label_map: LabelMap,
    path: Path,
    *,
    simplify_um: float = 0.0,
    minimum_um2: float = 0.0,
    compress: bool | None = None,
    tile: int = TILE,
) -> GeoJsonSummary:
    """Writes a FeatureCollection of annotations that QuPath imports. Background and glass that was not computed
    have no feature.

    Each feature has a Polygon with holes in pixels of level 0, counted from the map's `origin`: QuPath crops a
    slide to its bounds unless it was imported with `--no-crop`. As RFC 7946 asks, outer rings are counterclockwise
    and holes clockwise in the file's coordinates; on a screen, where y grows downwards, they look the other way
    round. Properties are `objectType`, `classification` (name and colour), `isLocked`, `measurements`, a map as
    QuPath writes it since version 0.4, with `Area mm^2`: of the region's pixels in the mask, and `metadata`, by
    which a script knows what to remove before it imports anew. A region has the same `id` whenever it is written.
    The collection's member `lpdseg` is what `described` gives.

    **Arguments:**

    - `simplify_um`: in microns. Corners of an outline whose triangle with their neighbours has less area than its
      square are dropped, the smallest first; neighbouring regions keep their shared border. The summary says what
      that changed. 0: outlines follow the pixels, and drawing them again gives back the mask.
    - `minimum_um2`: regions of less area, in square microns, are left out.
    - `compress`: gzip; by default where the name ends in `.gz`.
    - `tile`: side in pixels of the pieces in which the mask is read.

    **Raises:** `SettingsError` for negative figures or where the extra `slides` is missing; `OutputError`.
    """
    needed("slides", "rasterio", "shapely")
    for name, value in (("simplify_um", simplify_um), ("minimum_um2", minimum_um2)):
        if not (np.isfinite(value) and value >= 0):
            raise SettingsError(f"{name} must be 0 or more; got {value}")
    classes, pixel_um2 = label_map.classes, label_map.mpp[0] * label_map.mpp[1]
    regions, left_out, left_out_mm2 = dict.fromkeys(classes.names, 0), 0, 0.0
    simplified = Simplified() if simplify_um > 0 else None
    traced = trace_regions(label_map, tolerance=simplify_um / pixel_um2**0.5, tile=tile, simplified=simplified)
    compress = path.suffix == ".gz" if compress is None else compress
    with replacing(path) as temporary, _opened(temporary, compress) as file:
        about = json.dumps(described(label_map), ensure_ascii=False)
        file.write(f'{{"type": "FeatureCollection", "lpdseg": {about}, "features": [')
        separator = "\n"

        def large() -> Iterator[tuple[TracedRegion, float]]:
            nonlocal left_out, left_out_mm2
            for region in traced:
                mm2 = region.pixels * pixel_um2 / 1e6
                if mm2 * 1e6 < minimum_um2:
                    left_out, left_out_mm2 = left_out + 1, left_out_mm2 + mm2
                else:
                    yield region, mm2

        for (region, mm2), geometry in _placed(large(), label_map):
            name = classes.names[region.index]
            regions[name] += 1
            file.write(separator)
            separator = ",\n"
            properties = {
                "objectType": "annotation",
                "classification": {"name": name, "color": list(classes.colours[region.index])},
                "isLocked": False,
                "measurements": {"Area mm^2": mm2},
                "metadata": {"lpdseg": "region"},
            }
            identity = fixed_uuid(label_map, name, geometry)
            file.write(
                f'{{"type": "Feature", "id": "{identity}", "geometry": {geometry}, '
                f'"properties": {json.dumps(properties)}}}'
            )
        file.write("\n]}\n")
    changed = simplified.changed / simplified.pixels if simplified is not None and simplified.pixels else 0.0
    return GeoJsonSummary(regions, left_out, left_out_mm2, changed)


def _placed(
    regions: Iterator[tuple[TracedRegion, float]], label_map: LabelMap
) -> Iterator[tuple[tuple[TracedRegion, float], str]]:
    """Each region with the text of its GeoJSON geometry at level 0, valid where its polygon is.

    Some at once: most regions are small, and calls for each would take longer than what is called.
    """
    import shapely

    def to_level_0(points: Any) -> Any:
        return np.round(points * label_map.scale - label_map.origin, _DECIMALS)

    while some := list(islice(regions, _AT_ONCE)):
        moved = shapely.transform([with_contacts(region.polygon) for region, _ in some], to_level_0)
        wrong = ~shapely.is_valid(moved)  # a rounded corner could still lie on the wrong side of a line
        moved[wrong] = shapely.make_valid(moved[wrong], method="structure", keep_collapsed=False)
        yield from zip(some, shapely.to_geojson(shapely.orient_polygons(moved)).tolist(), strict=True)


@contextmanager
def _opened(path: Path, compress: bool) -> Iterator[TextIO]:
    """A text file to write to. Compressed, the same text gives the same bytes."""
    if not compress:
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        yield file

"""Regions of QuPath in GeoJSON, plain, in gzip or in zip files."""

import io
import zipfile
from pathlib import Path
from random import Random

from lpdseg.data.regions import read_regions
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 3000
_ZIP = b"PK\x03\x04"


def seeds(folder: Path) -> list[bytes]:
    plain = (
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "PathAnnotationObject", "geometry": '
        b'{"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90]]], "plane": {"z": 0}}, '
        b'"properties": {"object_type": "annotation", "classification": {"name": "Tum: Positive", "colorRGB": 7}, '
        b'"childObjects": [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [5, 5], '
        b'[5, 0], [0, 5]]]}, "properties": {"classification": {"name": "Ignore*", "color": [1, 2, 3]}}}]}}]}'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.geojson", plain)
    return [plain, packed.getvalue()]


def mutate(data: bytes, random: Random) -> bytes:
    return bytes_changed(data, random) if data.startswith(_ZIP) else json_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / ("x.geojson.zip" if data.startswith(_ZIP) else "x.geojson")
    path.write_bytes(data)
    found = read_regions(path)
    list(found.notes())
    assert all(region.name and region.geometry.is_valid for region in found.regions)

"""Corrections in GeoJSON, plain or compressed. What was taken is the same once it was written."""

import gzip
from pathlib import Path
from random import Random

from lpdseg.data.corrections import read_corrections, write_corrections
from lpdseg.plain import plain_text, plain_values
from mutations import json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 3000


def seeds(folder: Path) -> list[bytes]:
    return [
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"image": "a.png", '
        b'"classification": {"name": "TUM"}}, "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], '
        b'[9, 9], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]]}}, {"type": "Feature", "geometry": null, '
        b'"properties": {"image": "b.png", "labels": {"TUM": 1, "STR": 0}}}]}',
        b'[{"type": "Feature", "properties": {"objectType": "annotation", "width": 12, "classification": {"names": '
        b'["STR", "fat"], "color": [1, 2, 3]}}, "geometry": {"type": "MultiLineString", "coordinates": [[[0, 0], '
        b'[9.5, 3], [4, 4]], [[1, 1], [2, 2]]]}}, {"type": "Feature", "properties": {"classification": "TUM"}, '
        b'"geometry": {"type": "GeometryCollection", "geometries": [{"type": "MultiPolygon", "coordinates": '
        b'[[[[0, 0], [5, 0], [5, 5], [0, 0]]]]}, {"type": "Point", "coordinates": [1, 1]}]}}]',
    ]


def mutate(data: bytes, random: Random) -> bytes:
    if data[:2] == b"\x1f\x8b" or random.random() < 0.02:
        return gzip.compress(data, 1)
    return json_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / ("x.geojson.gz" if data[:2] == b"\x1f\x8b" else "x.geojson")
    path.write_bytes(data)
    found = read_corrections(path, ("TUM", "STR"))
    again = folder / "again.geojson"
    write_corrections(again, found)
    read = read_corrections(again, ("TUM", "STR"))
    assert plain_values(read.labels) == plain_values(found.labels)
    assert [(one.image, one.name, one.width) for one in read.drawn] == [
        (plain_text(one.image), one.name, one.width) for one in found.drawn
    ]

"""Files of regions: the features that a GeoJSON file holds, whether plain, compressed or nested."""

import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpdseg.errors import DataError

_PLAIN = (".geojson", ".json")

REGION_SUFFIXES = (*_PLAIN, ".geojson.gz", ".json.gz", ".geojson.zip", ".json.zip", ".zip")
"""How files of regions end."""


def read_features(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The features of a file and where each stands, for errors; those inside others (`childObjects`) follow the one
    that holds them.

    **Arguments:**

    - `path`: a FeatureCollection, a list of features or a single one; compressed where the name ends in `.gz`, and
      in `.zip` a file of such an ending or several.

    **Raises:** `DataError` for a file that cannot be read, is no GeoJSON, or holds something else than features.
    """
    waiting = [(f"{path}, feature {number}", value) for number, value in enumerate(_listed(path), 1)]
    waiting.reverse()
    while waiting:
        where, feature = waiting.pop()
        if not isinstance(feature, dict) or not isinstance(feature.get("properties") or {}, dict):
            raise DataError(f"{where} is no GeoJSON feature; export the regions from QuPath again")
        if feature.get("type") == "FeatureCollection":  # in a list of them
            inside = enumerate(_as_list(feature.get("features")), 1)
            waiting += reversed([(f"{where}, feature {number} of it", one) for number, one in inside])
            continue
        yield where, feature
        children = [
            child
            for holder in (feature.get("properties") or {}, feature)
            for key in ("childObjects", "children")
            for child in _as_list(holder.get(key))
        ]
        nested = [(f"{where}, object {number} within it", child) for number, child in enumerate(children, 1)]
        waiting += reversed(nested)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed(path: Path) -> list[Any]:
    features: list[Any] = []
    for text in _texts(path):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
            raise DataError(f"{path} is no JSON ({error}); export the regions from QuPath as GeoJSON") from error
        if isinstance(value, dict) and value.get("type") == "Feature":
            features.append(value)
            continue
        found = value.get("features") if isinstance(value, dict) else value
        if not isinstance(found, list):
            raise DataError(f"{path} is no GeoJSON FeatureCollection; export the regions from QuPath as GeoJSON")
        features += found
    return features


def _texts(path: Path) -> list[bytes]:
    try:
        if path.suffix.lower() == ".zip":
            return _unzipped(path)
        raw = path.read_bytes()
        return [gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or no gzip file; export the regions again") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # the last two: of encrypted ones
        raise DataError(f"{path} is damaged or no zip file that can be read; export the regions again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); change its rights") from error


def _unzipped(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(
            name
            for name in archive.namelist()
            # macOS adds files of its own.
            if name.lower().endswith(_PLAIN) and not name.rpartition("/")[2].startswith(".")
        )
        if not names:
            raise DataError(f"{path} holds no .geojson or .json; export the regions from QuPath as GeoJSON")
        return [archive.read(name) for name in names]

"""Files of regions: the features that a GeoJSON file holds, whether plain, compressed or nested."""

import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

from lpdseg.errors import DataError
from lpdseg.files import open_file

_PLAIN = (".geojson", ".json")

REGION_SUFFIXES = (*_PLAIN, ".geojson.gz", ".json.gz", ".geojson.zip", ".json.zip", ".zip")
"""How files of regions end."""


MOST_BYTES = 1 << 28
"""Of a file of regions, unpacked."""

_MOST_VALUES = 1 << 24
"""Of a JSON text, by the marks between them: each takes about 50 bytes once it is read."""


def read_features(path: Path, most: int = MOST_BYTES) -> Iterator[tuple[str, dict[str, Any]]]:
    """The features of a file and where each stands, for errors; those inside others (`childObjects`) follow the one
    that holds them.

    **Arguments:**

    - `path`: a FeatureCollection, a list of features or a single one; compressed where the name ends in `.gz`, and
      in `.zip` a file of such an ending or several.
    - `most`: bytes that it may hold, unpacked.

    **Raises:** `DataError` for a file that cannot be read, is larger, is no GeoJSON, or holds something else than
    features.
    """
    return walk_features([one for value in _values(path, most) for one in _listed(value, str(path))], str(path))


def read_value(value: Any, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `read_features`, of what a JSON text held; `source` is what errors name."""
    return walk_features(_listed(value, source), source)


def walk_features(features: list[Any], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Features and those inside them, and where each stands."""
    waiting = [(f"{source}, feature {number}", value) for number, value in enumerate(features, 1)]
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


def _listed(value: Any, source: str) -> list[Any]:
    if isinstance(value, dict) and value.get("type") == "Feature":
        return [value]
    found = value.get("features") if isinstance(value, dict) else value
    if not isinstance(found, list):
        raise DataError(f"{source} is no GeoJSON FeatureCollection; export the regions from QuPath as GeoJSON")
    return found


def _values(path: Path, most: int) -> Iterator[Any]:
    for text in _texts(path, most):
        if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
            raise DataError(
                f"{path} holds more than {_MOST_VALUES:,} values; split it, or export regions without cells"
            )
        try:
            yield json.loads(text)
        except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
            raise DataError(f"{path} is no JSON ({error}); export the regions from QuPath as GeoJSON") from error


def _texts(path: Path, most: int) -> list[bytes]:
    try:
        if path.suffix.lower() == ".zip":
            return _unzipped(path, most)
        packed = path.suffix.lower() == ".gz"
        with open_file(path) as held, gzip.open(held) if packed else held as file:
            return [_bounded(file, path, most)]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or no gzip file; export the regions again") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        # The second and third of encrypted ones, the last of names of files.
        raise DataError(f"{path} is damaged or no zip file that can be read; export the regions again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); change its rights") from error


def _unzipped(path: Path, most: int) -> list[bytes]:
    with open_file(path) as held, zipfile.ZipFile(held) as archive:
        names = sorted(
            name
            for name in archive.namelist()
            # macOS adds files of its own.
            if name.lower().endswith(_PLAIN) and not name.rpartition("/")[2].startswith(".")
        )
        if not names:
            raise DataError(f"{path} holds no .geojson or .json; export the regions from QuPath as GeoJSON")
        texts: list[bytes] = []
        for name in names:
            with archive.open(name) as file:
                texts.append(_bounded(file, path, most - sum(map(len, texts))))
        return texts


def _bounded(file: IO[bytes] | BufferedIOBase, path: Path, most: int) -> bytes:
    """All of a file, of which a small packed one may claim to be a huge one."""
    text = file.read(most + 1)
    if len(text) > most:
        raise DataError(f"{path} is too large for a file of regions; split it")
    return text

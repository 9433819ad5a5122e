"""The Zarr stores of probabilities that `segment --to zarr` has written, read back chunk by chunk.

A store is a folder of many files that anybody may have changed. Zarr itself would take any codec and any size that
they name; here only what `lpdseg.export.ome_zarr` writes is taken, and each file is held against it first.
"""

import json
import struct
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from lpdseg.errors import DataError
from lpdseg.export.ome_zarr import CHUNK
from lpdseg.extras import needed
from lpdseg.files import read_text
from lpdseg.schema import Described, conform

_REMEDY = "segment its image again"
_MOST_TEXT = 1 << 20
_HEAD = struct.Struct("<4x3I")
"""Of a chunk in Blosc: bytes once it is decoded, bytes of a block of it, and bytes of all of it as it is."""

_Side = Annotated[int, Field(ge=1, le=1 << 31)]


class _Codec(Described):
    id: Literal["blosc"]


class _Array(Described):
    zarr_format: Literal[2]
    shape: Annotated[list[_Side], Field(min_length=3, max_length=3)]
    chunks: list[int]
    dtype: Literal["|u1"]
    order: Literal["C"]
    fill_value: Literal[0]
    filters: None
    dimension_separator: Literal["/"]
    compressor: _Codec


class _Level(Described):
    path: Annotated[str, Field(pattern="^[0-9]{1,2}$")]


class _Image(Described):
    datasets: Annotated[list[_Level], Field(min_length=1, max_length=32)]


class _Channel(Described):
    label: str


class _Channels(Described):
    channels: Annotated[list[_Channel], Field(min_length=1, max_length=256)]


class _Attributes(Described):
    multiscales: Annotated[list[_Image], Field(min_length=1, max_length=1)]
    omero: _Channels


class StoredLevel:
    """An array of n x H x W of such a store, of which a rectangle of a channel is read.

    **Raises:** `DataError` for an array that this program does not write.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, store: Path, name: str) -> None:
        self._store, self._folder = store, store / name
        told = _read(_Array, store, self._folder / ".zarray")
        if told.chunks != [1, CHUNK, CHUNK]:
            raise DataError(
                f"{self._folder} has chunks of {told.chunks}, and not of {[1, CHUNK, CHUNK]}; {_REMEDY}"
            )
        self.shape = tuple(told.shape)
        self.ndim = len(self.shape)

    def __getitem__(self, place: tuple[int, slice, slice]) -> UInt8[np.ndarray, "h w"]:
        """Values of a channel at rows and columns; 0 in chunks that are not there.

        **Raises:** `DataError` for a chunk that is damaged, or claims another size.
        """
        channel, rows, columns = place
        found = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        touched = (range(side.start // CHUNK, -(-side.stop // CHUNK)) for side in (rows, columns))
        for down, across in product(*touched):
            chunk = self._chunk(self._folder / str(channel) / str(down) / str(across))
            if chunk is not None:
                top, left = down * CHUNK, across * CHUNK
                here = [
                    slice(max(side.start, first), min(side.stop, first + CHUNK))
                    for side, first in ((rows, top), (columns, left))
                ]
                part = chunk[here[0].start - top : here[0].stop - top, here[1].start - left : here[1].stop - left]
                found[_moved(here[0], rows.start), _moved(here[1], columns.start)] = part
        return found

    def _chunk(self, path: Path) -> UInt8[np.ndarray, "512 512"] | None:
        import numcodecs

        wanted = CHUNK * CHUNK
        if not _is_held(self._store, path):
            return None
        with path.open("rb") as file:
            data = file.read(2 * wanted)
        if len(data) < _HEAD.size:
            raise DataError(f"{path} has {len(data)} bytes, too few for a chunk; {_REMEDY}")
        claimed, block, size = _HEAD.unpack_from(data)
        if (claimed, size) != (wanted, len(data)) or block > wanted:
            raise DataError(
                f"{path} claims {claimed:,} bytes, in blocks of {block:,}, out of {size:,}, and has {len(data):,} "
                f"for {wanted:,}; {_REMEDY}"
            )
        try:
            values = np.frombuffer(numcodecs.Blosc().decode(data), np.uint8)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}); {_REMEDY}") from error
        return values.reshape(CHUNK, CHUNK)


def open_store(path: Path) -> tuple[list[StoredLevel], tuple[str, ...]]:
    """The levels of a store, finest first, and the names of its channels.

    **Raises:** `DataError` for what this program has not written; `SettingsError` where the extra `slides` is
    missing.
    """
    needed("slides", "numcodecs")
    told = _read(_Attributes, path, path / ".zattrs")
    levels = [StoredLevel(path, one.path) for one in told.multiscales[0].datasets]
    return levels, tuple(one.label for one in told.omero.channels)


def _read(kind: type[Any], store: Path, path: Path) -> Any:
    """A small JSON of a store, once it is what it should be."""
    if not _is_held(store, path):
        raise DataError(f"{store} is no store of probabilities: {path.name} is missing; {_REMEDY}")
    try:
        value = json.loads(read_text(path, _MOST_TEXT))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({str(error)[:200]}); {_REMEDY}") from error
    return conform(kind, value, path, DataError, _REMEDY)


def _is_held(store: Path, path: Path) -> bool:
    """Whether there is a file. **Raises:** `DataError` for what is no file, or lies elsewhere by a link."""
    if not path.exists():
        return False
    if not path.is_file() or not path.resolve().is_relative_to(store.resolve()):
        raise DataError(f"{path} is no file of its store; {_REMEDY}")
    return True


def _moved(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)

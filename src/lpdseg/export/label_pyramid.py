"""The labels of a slide at all sizes, level by level in tiles, without the whole mask in memory.

H x W pixels of a level; h rows of a band.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from lpdseg.export.bands import label_bands
from lpdseg.extras import needed
from lpdseg.files import replacing
from lpdseg.slides.label_map import LabelMap

TILE = 512
"""Side of a tile in pixels, and the longest side of the last level."""

_Bands = Callable[[], Iterator[UInt8[np.ndarray, "h W"]]]


def write_label_pyramid(
    label_map: LabelMap,
    path: Path,
    options: Callable[[int, int], dict[str, Any]],
    *,
    table: UInt8[np.ndarray, "256"] | None = None,
    halve: Callable[[np.ndarray], np.ndarray] | None = None,
    **file_options: Any,
) -> None:
    """Writes a tiled 8-bit TIFF whose pixel values are the classes' values on disk, with all smaller levels.

    Tiles of 512 px are compressed with Deflate, which every reader of TIFF knows. Each level halves the one before:
    a pixel is the commonest of four labels, and where two are equally common the one that comes first in reading
    order, so that labels stay labels. Each level has tags that tell the size of its pixels.

    The mask is read in bands. Smaller levels wait for their turn in a temporary file beside `path`.

    **Arguments:**

    - `options`: further ones of `tifffile.TiffWriter.write`, by the number of a level and how many there are.
    - `table`: the value to write for each that `label_map` holds; None: the classes' values on disk.
    - `halve`: half as many rows and columns; None: `halved`.
    - `file_options`: of `tifffile.TiffWriter`.

    **Raises:** `SettingsError` where the extra `slides` is missing; `OutputError`.
    """
    needed("slides", "tifffile", "imagecodecs")
    import tifffile

    sizes, halve = level_sizes(label_map.size), halve or halved
    table = label_map.classes.to_disk() if table is None else table
    # The writer is closed before the file is renamed: the directory of the levels is written last.
    with (
        replacing(path) as temporary,
        _spools(sizes[1:], path.parent) as spools,
        tifffile.TiffWriter(temporary, bigtiff=True, **file_options) as writer,
    ):
        source: _Bands = partial(_finest, label_map, table)
        for level, (width, height) in enumerate(sizes):
            smaller = spools[level] if level < len(spools) else None
            writer.write(
                _tiles(source, smaller, halve),
                shape=(height, width),
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                resolution=tuple(1e4 * whole / (mpp * full) for whole, full, mpp in _axes(label_map, sizes[level])),
                resolutionunit="CENTIMETER",
                subfiletype=0 if level == 0 else 1,
                software=False,
                **options(level, len(sizes)),
            )
            if smaller is not None:
                source = smaller.bands


def _axes(label_map: LabelMap, size: tuple[int, int]) -> Iterator[tuple[int, int, float]]:
    """For x and y the pixels of a level, those of the finest, and the microns of one of those."""
    return zip(size, label_map.size, label_map.mpp, strict=True)


def level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """(W, H) of all levels, halved and rounded up until one tile holds the last."""
    sizes = [size]
    while max(sizes[-1]) > TILE:
        width, height = sizes[-1]
        sizes.append((-(-width // 2), -(-height // 2)))
    return sizes


def halved(labels: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """The commonest of each four labels, the first in reading order where two are equally common. Where a side is
    odd, the last row or column counts twice."""
    even = _filled(labels, 2)
    a, b, c, d = even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]
    others = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    commonest: UInt8[np.ndarray, "h w"] = np.where((a == b) | (a == c) | (a == d), a, others)
    return commonest


@contextmanager
def _spools(sizes: list[tuple[int, int]], folder: Path) -> Iterator[list["_Spool"]]:
    """A temporary file for each smaller level."""
    with ExitStack() as stack:
        yield [_Spool(stack.enter_context(tempfile.TemporaryFile(dir=folder)), *size) for size in sizes]


@dataclass
class _Spool:
    """A level that waits on disk, row after row."""

    file: BinaryIO
    width: int
    height: int

    def append(self, labels: UInt8[np.ndarray, "h W"]) -> None:
        self.file.write(labels.tobytes())

    def bands(self) -> Iterator[UInt8[np.ndarray, "h W"]]:
        self.file.seek(0)
        for top in range(0, self.height, TILE):
            rows = min(TILE, self.height - top)
            yield np.frombuffer(self.file.read(rows * self.width), np.uint8).reshape(rows, self.width)


def _finest(label_map: LabelMap, table: np.ndarray) -> Iterator[UInt8[np.ndarray, "h W"]]:
    return (_by_tile(labels, table.__getitem__, 1) for _, labels in label_bands(label_map, TILE))


def _by_tile(
    labels: UInt8[np.ndarray, "h W"], change: Callable[[np.ndarray], np.ndarray], factor: int
) -> UInt8[np.ndarray, "_h _W"]:
    """Labels changed tile by tile, each square of `factor` pixels into one; quick where a tile has but one label.

    Most of a slide is glass.
    """
    parts = []
    for left in range(0, labels.shape[1], TILE):
        tile = labels[:, left : left + TILE]
        height, width = (-(-side // factor) for side in tile.shape)
        alike = bool((tile == tile[0, 0]).all())
        parts.append(np.broadcast_to(change(tile[:1, :1]), (height, width)) if alike else change(tile))
    return np.concatenate(parts, 1)


def _tiles(
    source: _Bands, smaller: _Spool | None, halve: Callable[[np.ndarray], np.ndarray]
) -> Iterator[UInt8[np.ndarray, "512 512"]]:
    """The tiles of a level in reading order, filled up with their own edge; the next level is made on the way."""
    for labels in source():
        if smaller is not None:
            smaller.append(_by_tile(labels, halve, 2))
        for left in range(0, labels.shape[1], TILE):
            tile = labels[:, left : left + TILE]
            yield _filled(tile, TILE)


def _filled(labels: UInt8[np.ndarray, "_h _W"], step: int) -> UInt8[np.ndarray, "_H _V"]:
    """Labels whose sides are multiples of `step`: the last row and column are repeated where that is needed."""
    more = [(0, -side % step) for side in labels.shape]
    return np.pad(labels, more, mode="edge") if any(map(any, more)) else np.ascontiguousarray(labels)

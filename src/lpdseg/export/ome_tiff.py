"""A segmented slide as a picture that slide viewers open: a pyramid of labels in one OME-TIFF.

H x W pixels of a level; h rows of a band.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8, UInt16

from lpdseg.export.bands import label_bands
from lpdseg.extras import needed
from lpdseg.files import replacing
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import IGNORE, TissueClasses

TILE = 512
"""Side of a tile in pixels, and the longest side of the last level."""

_Bands = Callable[[], Iterator[UInt8[np.ndarray, "h W"]]]


def write_ome_tiff(label_map: LabelMap, path: Path) -> None:
    """Writes an 8-bit OME-TIFF whose pixel values are the classes' values on disk, with all smaller levels.

    Tiles of 512 px are compressed with Deflate, which every reader of TIFF knows. Each level halves the one before:
    a pixel is the commonest of four labels, and where two are equally common the one that comes first in reading
    order, so that labels stay labels. The metadata hold the size of a pixel in microns, and the classes as a map
    from value to name and as JSON.

    The colours of the classes are the TIFF's palette. Fiji, ASAP, Pillow and tifffile take them from there. QuPath
    does not read palettes and shows the values in grey (for QuPath there is `write_geojson`); napari gets numbers,
    to be opened as labels. Where the classes have no background, pixels without a class have value 255 and its
    colour.

    The mask is read in bands. Smaller levels wait for their turn in a temporary file beside `path`.

    **Raises:** `SettingsError` where the extra `slides` is missing; `OutputError`.
    """
    needed("slides", "tifffile", "imagecodecs")
    import tifffile

    classes = label_map.classes
    sizes = level_sizes(label_map.size)
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        spools = [_Spool(stack.enter_context(tempfile.TemporaryFile(dir=path.parent)), *size) for size in sizes[1:]]
        # Closed before the file is renamed: the directory of the levels is written last.
        writer = stack.enter_context(tifffile.TiffWriter(temporary, bigtiff=True, ome=True))
        source: _Bands = partial(_finest, label_map)
        for level, (width, height) in enumerate(sizes):
            smaller = spools[level] if level < len(spools) else None
            writer.write(
                _tiles(source, smaller),
                shape=(height, width),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="palette",
                colormap=_colour_map(classes),
                compression="zlib",
                subifds=len(spools) if level == 0 else None,
                subfiletype=0 if level == 0 else 1,
                metadata=_metadata(label_map, path) if level == 0 else None,
                software=False,
            )
            if smaller is not None:
                source = smaller.bands


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
    even = np.pad(labels, [(0, side % 2) for side in labels.shape], mode="edge")
    a, b, c, d = even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]
    others = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    commonest: UInt8[np.ndarray, "h w"] = np.where((a == b) | (a == c) | (a == d), a, others)
    return commonest


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


def _finest(label_map: LabelMap) -> Iterator[UInt8[np.ndarray, "h W"]]:
    table = label_map.classes.to_disk()
    return (table[labels] for _, labels in label_bands(label_map, TILE))


def _tiles(source: _Bands, smaller: _Spool | None) -> Iterator[UInt8[np.ndarray, "512 512"]]:
    """The tiles of a level in reading order, filled up with their own edge; the next level is made on the way."""
    for labels in source():
        if smaller is not None:
            smaller.append(halved(labels))
        full = np.pad(labels, [(0, -side % TILE) for side in labels.shape], mode="edge")
        for left in range(0, full.shape[1], TILE):
            yield np.ascontiguousarray(full[:, left : left + TILE])


def _colour_map(classes: TissueClasses) -> UInt16[np.ndarray, "3 256"]:
    """RGB by value on disk, 0..65535 as TIFF has it."""
    palette = classes.palette()
    palette[IGNORE] = classes.background_colour
    colours: UInt16[np.ndarray, "3 256"] = palette.T.astype(np.uint16) * 257
    return colours


def _metadata(label_map: LabelMap, path: Path) -> dict[str, object]:
    """What goes into the OME-XML."""
    classes = label_map.classes
    by_value = {str(value): name for name, value in zip(classes.names, classes.indices, strict=True)}
    if classes.background is not None:
        by_value[str(classes.background)] = "background"
    return {
        "axes": "YX",
        "Name": path.name.removesuffix(".ome.tif").removesuffix(".tif"),
        "Description": json.dumps({"classes": classes.as_dict(), "level0_per_pixel": list(label_map.scale)}),
        "PhysicalSizeX": label_map.mpp[0],
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": label_map.mpp[1],
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": ["tissue class"]},
        "MapAnnotation": {"Namespace": "lpdseg/tissue-classes", **by_value},
    }

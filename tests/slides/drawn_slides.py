"""Drawn slides: scenes whose every pixel is known, written as pyramids."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lpdseg.slides.levels import trusted_levels
from lpdseg.slides.rectangle import damaged, on_white
from lpdseg.slides.slide import SlideFacts

tifffile = pytest.importorskip("tifffile", reason="the extra `slides` is not installed")

Pixels = np.ndarray


def scene(width: int, height: int, seed: int = 0) -> Pixels:
    """A pink slide with smooth stains, all of them darker than white."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 230, (height // 24 + 3, width // 24 + 3, 3)).astype(np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def reduced(image: Pixels, factor: int) -> Pixels:
    """Mean colours of whole blocks; what is left over at the right and below is dropped."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def write_pyramid(path: Path, levels: Sequence[Pixels], *, subifds: bool = False, **options: Any) -> Path:
    """Levels as sub-IFDs of the first page, or as further pages marked as smaller copies."""
    first = {key: options.pop(key) for key in ("description", "resolution", "resolutionunit") if key in options}
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate", "metadata": None} | options
    if options.get("planarconfig") == "separate":
        levels = [level.transpose(2, 0, 1) for level in levels]
    container = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    with tifffile.TiffWriter(path, ome=False, **container) as tiff:
        tiff.write(levels[0], **options, **first, **({"subifds": len(levels) - 1} if subifds else {}))
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **options)
    return path


def write_svs(path: Path, levels: Sequence[Pixels], *, mpp: str = "|MPP = 0.2500", **options: Any) -> Path:
    """Aperio's layout: level 0, a thumbnail in strips, the other levels."""
    height, width = levels[0].shape[:2]
    description = f"Aperio Image Library v11.2.1\n{width}x{height} (64x64)|AppMag = 40{mpp}"
    tiled = {"tile": (64, 64), "compression": "deflate", "photometric": "rgb", "metadata": None} | options
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(levels[0], description=description, **tiled)
        tiff.write(levels[0][::8, ::8], description=description, photometric="rgb", metadata=None)
        for level in levels[1:]:
            tiff.write(level, description=description, **tiled)
    return path


def spoil_tile(path: Path, page: int, tile: int) -> None:
    """Overwrites the compressed bytes of one tile."""
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[page].dataoffsets[tile], tiff.pages[page].databytecounts[tile]
    data = bytearray(path.read_bytes())
    data[start : start + count] = b"\xa5" * count
    path.write_bytes(bytes(data))


def lose_tile(path: Path, level: int, *tiles: int, codes: Sequence[int] = (324, 325)) -> None:
    """Leaves tiles out of a level, as a writer does that was interrupted: TileOffsets and TileByteCounts are 0."""
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].aspage()
        page = first if level == 0 else (list(first.pages) if first.subifds else tiff.pages[1:])[level - 1]
        tags = [page.aspage().tags[code] for code in codes]
        order, letters = tiff.byteorder, {3: "H", 4: "I", 16: "Q"}
    data = bytearray(path.read_bytes())
    for tag in tags:
        letter = letters[int(tag.dtype)]
        for tile in tiles:
            struct.pack_into(order + letter, data, tag.valueoffset + tile * struct.calcsize(letter), 0)
    path.write_bytes(bytes(data))


def cut(image: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    """What a reader must give: the rectangle, white outside the image, pixel by pixel."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    for row in range(height):
        if 0 <= y + row < image.shape[0]:
            columns = np.arange(x, x + width)
            inside = (columns >= 0) & (columns < image.shape[1])
            pixels[row, inside] = image[y + row, columns[inside]]
    return pixels


class ArraySlide:
    """A slide in memory, which remembers what was read of it."""

    def __init__(self, levels: Sequence[Pixels], bad: tuple[int, int] | None = None) -> None:
        sizes = [(level.shape[1], level.shape[0]) for level in levels]
        found = tuple(level for _, level in trusted_levels(sizes))
        assert len(found) == len(levels)
        self.path = Path("drawn.svs")
        self.facts = SlideFacts(found, None, None, "drawn")
        self.asked: list[tuple[int, int, int, int, int]] = []
        self._levels, self._bad = levels, bad

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """White outside; a pixel of level 0 may be damaged."""
        self.asked.append((level, x, y, width, height))
        if level == 0 and self._bad is not None:
            column, row = self._bad
            if x <= column < x + width and y <= row < y + height:
                raise damaged(self.path, level, x, y, width, height, "bad")
        image = self._levels[level]

        def inside(x: int, y: int, width: int, height: int) -> Pixels:
            return image[y : y + height, x : x + width]

        return on_white((image.shape[1], image.shape[0]), x, y, width, height, inside)

    def close(self) -> None:
        """Nothing to give back."""

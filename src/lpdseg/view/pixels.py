"""The picture of an item as tiles of a pyramid, of any size, without more of it in memory than a tile needs.

Level l of n + 1 is halved n − l times, and its last column and row may reach beyond the picture, where it is white.
A tile is at most `TILE` pixels wide and high.
"""

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.data.patches import read_image
from lpdseg.slides.image_slide import ImageSlide
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Slide
from lpdseg.view.items import AbsentError, Item

TILE = 256
_OPEN = 4
_CACHED = 64 << 20
_MOST = 2048
"""Pixels of a level along a side that are read at once."""


def levels(size: tuple[int, int]) -> int:
    """n: how often a picture of (W, H) pixels is halved until it is one pixel."""
    return math.ceil(math.log2(max(size)))


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(W, H) of a level."""
    down = 1 << (levels(size) - level)
    return -(-size[0] // down), -(-size[1] // down)


def tile_box(size: tuple[int, int], level: int, column: int, row: int) -> tuple[int, int, int, int]:
    """x, y, width and height of a tile, in pixels of its level.

    **Raises:** `AbsentError` where there is no such tile.
    """
    if not 0 <= level <= levels(size):
        raise AbsentError(f"there is no level {level}")
    width, height = level_size(size, level)
    x, y = column * TILE, row * TILE
    if not (0 <= x < width and 0 <= y < height):
        raise AbsentError(f"there is no tile {column}, {row} at level {level}")
    return x, y, min(TILE, width - x), min(TILE, height - y)


def open_picture(item: Item) -> Slide:
    """An item's picture, a patch as a slide of one level.

    **Raises:** `DataError`, `SettingsError`: see `open_slide` and `read_image`.
    """
    return open_slide(item.path) if item.slide else ImageSlide(item.path, read_image(item.path))


@dataclass
class _Held:
    """An open picture, and how many read it or wait to; one of them at a time."""

    slide: Slide
    lock: Lock = field(default_factory=Lock)
    users: int = 0


class Pictures:
    """Tiles of items' pictures; a few of those are open, the ones used last. Any thread may ask."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        self._items = items
        self._open: OrderedDict[int, _Held] = OrderedDict()
        self._tiles: OrderedDict[tuple[int, int, int, int], bytes] = OrderedDict()
        self._bytes, self._lock = 0, Lock()
        self._sizes: dict[int, tuple[int, int]] = {}

    @contextmanager
    def opened(self, index: int) -> Iterator[Slide]:
        """An item's picture, for one thread at a time.

        **Raises:** as `open_picture`; `AbsentError` where there is no such item.
        """
        if not 0 <= index < len(self._items):
            raise AbsentError(f"there is no image {index}")
        with self._lock:
            held = self._open.pop(index, None) or _Held(open_picture(self._items[index]))
            self._open[index] = held
            held.users += 1
            free = [i for i, one in self._open.items() if not one.users]
            for i in free[: max(len(self._open) - _OPEN, 0)]:
                self._open.pop(i).slide.close()
        try:
            with held.lock:
                yield held.slide
        finally:
            with self._lock:
                held.users -= 1

    def size(self, index: int) -> tuple[int, int]:
        """(W, H) of an item's picture. **Raises:** as `opened`."""
        if index not in self._sizes:
            with self.opened(index) as slide:
                self._sizes[index] = slide.facts.size
        return self._sizes[index]

    def tile(self, index: int, level: int, column: int, row: int) -> bytes:
        """A tile: PNG of a patch, which loses nothing, JPEG of a slide.

        **Raises:** as `opened`, and `AbsentError` where there is no such tile.
        """
        key = index, level, column, row
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        with self.opened(index) as slide:
            pixels = tile_pixels(slide, level, column, row)
        found = encoded(Image.fromarray(pixels), not self._items[index].slide)
        with self._lock:
            if key not in self._tiles:
                self._tiles[key], self._bytes = found, self._bytes + len(found)
            while self._bytes > _CACHED:
                self._bytes -= len(self._tiles.popitem(last=False)[1])
        return found

    def close(self) -> None:
        """Closes all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].slide.close()


def tile_pixels(slide: Slide, level: int, column: int, row: int) -> UInt8[np.ndarray, "h w 3"]:
    """RGB of a tile, averaged from the coarsest level that is as fine.

    **Raises:** `SlideError` where the file is damaged there; `AbsentError` where there is no such tile.
    """
    x, y, width, height = tile_box(slide.facts.size, level, column, row)
    down = 1 << (levels(slide.facts.size) - level)
    fine = [n for n, one in enumerate(slide.facts.levels) if max(one.downsample) <= down * 1.01]
    source = fine[-1] if fine else 0
    factors = [down / one for one in slide.facts.levels[source].downsample]
    pixels = np.empty((height, width, 3), np.uint8)
    step = max(int(_MOST / max(factors)), 1)
    read: Callable[..., np.ndarray] = slide.read
    for top in range(0, height, step):
        for left in range(0, width, step):
            wide, high = min(step, width - left), min(step, height - top)
            box = [(x + left) * factors[0], (y + top) * factors[1], wide * factors[0], high * factors[1]]
            first_x, first_y = math.floor(box[0]), math.floor(box[1])
            last_x, last_y = math.ceil(box[0] + box[2] - 1e-6), math.ceil(box[1] + box[3] - 1e-6)
            part = read(source, first_x, first_y, max(last_x - first_x, 1), max(last_y - first_y, 1))
            if part.shape[:2] != (high, wide):
                inside = (box[0] - first_x, box[1] - first_y, box[0] + box[2] - first_x, box[1] + box[3] - first_y)
                inside = (*inside[:2], min(inside[2], part.shape[1]), min(inside[3], part.shape[0]))
                part = np.asarray(Image.fromarray(part).resize((wide, high), Image.Resampling.BOX, inside))
            pixels[top : top + high, left : left + wide] = part
    return pixels


def encoded(picture: Image.Image, lossless: bool) -> bytes:
    """A picture as a file: PNG, or JPEG of high quality."""
    file = io.BytesIO()
    if lossless:
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "JPEG", quality=88)
    return file.getvalue()

"""TIFFs of 8-bit RGB: pyramids with sub-IFDs or further pages, OME-TIFF, flat ones; tiled or in strips."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.errors import LpdsegError
from lpdseg.maps.glass import GLASS_DENSITY
from lpdseg.slides.levels import trusted_levels
from lpdseg.slides.rectangle import WHITE, damaged, on_white
from lpdseg.slides.slide import SlideError, SlideFacts
from lpdseg.slides.tiff_mpp import tiff_mpp
from lpdseg.slides.tiff_pages import check_page, level_pages
from lpdseg.slides.tiff_segments import Segments

SUFFIXES = (".tif", ".tiff", ".svs", ".qptiff", ".btf")


_LOOKED = 20_000
"""Of the tiles that a level lacks, which are looked at when a slide is opened."""

_DECODED = 1 << 29
"""Bytes that may be decoded for such looks, see `Segments.decoded`."""

_KEPT_ELSEWHERE = 1 << 28
"""Bytes that levels keep beside the one that is read: each keeps a tile at least, which may have 192 MiB."""

_BLOCK = 128
"""Side of the blocks in which a missing tile is made from a finer level, which may be many times as large."""


class TiffSlide:
    """A `Slide` that tifffile and imagecodecs read, tile by tile."""

    def __init__(self, path: Path, tiff: Any) -> None:
        self.path = path
        self._tiff = tiff
        pages, scenes = level_pages(path, tiff)
        levels = trusted_levels([(page.imagewidth, page.imagelength) for page in pages])
        for index, _ in levels:
            check_page(path, pages[index])
        self._levels = tuple(level for _, level in levels)
        self._segments = tuple(
            Segments(pages[index], partial(self._from_finer, number)) for number, (index, _) in enumerate(levels)
        )
        self.facts = SlideFacts(
            levels=self._levels,
            mpp=tiff_mpp(pages[0], tiff.ome_metadata),
            bounds=None,
            vendor=_vendor(tiff),
            notes=(*([] if scenes is None else [scenes]), *self._left_out()),
        )

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """See `Slide.read`."""
        size = self._levels[level].width, self._levels[level].height
        others = [segments for number, segments in enumerate(self._segments) if number != level]
        if sum(segments.kept_bytes for segments in others) > _KEPT_ELSEWHERE:
            for segments in others:
                segments.forget()
        try:
            with _hushed():
                return on_white(size, x, y, width, height, self._segments[level].read)
        except Exception as error:  # damaged bytes make decoders raise almost anything
            raise damaged(self.path, level, x, y, width, height, error) from error

    def _left_out(self) -> Iterator[str]:
        """Tells of tiles that one level has and another lacks."""
        for level in range(len(self._segments) if len(self._segments) > 1 else 0):
            count, places = self._segments[level].missing(_LOOKED)
            gone = looked = 0
            for place in places:
                gone += self._is_finer_there(level, *place) if level else self._shows_tissue(*place)
                looked += 1
                if sum(segments.decoded for segments in self._segments) > _DECODED:
                    break
            if gone:
                tiles = f"{gone} tile{'s' * (gone != 1)} of level {level}"
                among = "" if looked == count else f", among {looked:,} of {count:,} left out that were looked at,"
                yield f"{self.path} lacks {tiles}{among} " + (
                    "that finer levels have; they are made from those"
                    if level
                    else "where coarser levels show tissue, which may be read as white; copy or export it again"
                )

    def _shows_tissue(self, x: int, y: int, width: int, height: int) -> bool:
        """Whether there is tissue in a rectangle of level 0, by the next level that has it."""
        for level, segments in enumerate(self._segments[1:], start=1):
            across, down = self._levels[level].downsample
            left, top = int(x / across), int(y / down)
            box = left, top, max(int((x + width) / across) - left, 1), max(int((y + height) / down) - top, 1)
            if segments.holds(*box).all():
                with suppress(SlideError):  # of damage reading will tell
                    return bool(self.read(level, *box).mean() < WHITE * 10**-GLASS_DENSITY)
        return False

    def _is_finer_there(self, level: int, x: int, y: int, width: int, height: int) -> bool:
        """Whether any finer level has tiles where a rectangle of `level` lies."""
        for finer in range(level):
            box = self._box(level, finer, x, y, width, height)
            left, top = math.floor(box[0]), math.floor(box[1])
            if self._segments[finer].holds(left, top, math.ceil(box[2]) - left, math.ceil(box[3]) - top).any():
                return True
        return False

    def _from_finer(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"] | None:
        """A rectangle of a level, as the mean colours of the next finer one; None where no finer level has any."""
        if not self._is_finer_there(level, x, y, width, height):
            return None
        pixels = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, _BLOCK):
            for left in range(0, width, _BLOCK):
                block = pixels[top : top + _BLOCK, left : left + _BLOCK]
                box = self._box(level, level - 1, x + left, y + top, block.shape[1], block.shape[0])
                first_x, first_y = math.floor(box[0]), math.floor(box[1])
                source = self.read(
                    level - 1, first_x, first_y, math.ceil(box[2]) - first_x, math.ceil(box[3]) - first_y
                )
                inner = (box[0] - first_x, box[1] - first_y, box[2] - first_x, box[3] - first_y)
                size = block.shape[1], block.shape[0]
                block[:] = np.asarray(Image.fromarray(source).resize(size, Image.Resampling.BOX, inner))
        return pixels

    def _box(
        self, level: int, finer: int, x: int, y: int, width: int, height: int
    ) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a rectangle of `level` in pixels of a finer one."""
        coarse, fine = self._levels[level].downsample, self._levels[finer].downsample
        across, down = coarse[0] / fine[0], coarse[1] / fine[1]
        return x * across, y * down, (x + width) * across, (y + height) * down

    def close(self) -> None:
        """See `Slide.close`."""
        self._tiff.close()


def open_tiff(path: Path) -> TiffSlide | None:
    """The slide, or None where the file is no TIFF.

    **Raises:** `SlideError` for a TIFF that is damaged or holds something other than one slide of 8-bit RGB.
    """
    import tifffile

    with path.open("rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            return None
    with _hushed():
        tiff = None
        try:
            tiff = tifffile.TiffFile(path)
            return TiffSlide(path, tiff)
        except Exception as error:
            if tiff is not None:
                tiff.close()
            if isinstance(error, LpdsegError):
                raise
            told = " ".join(str(error).split()) or type(error).__name__
            raise SlideError(f"{path} cannot be read as a TIFF ({told}); copy or export it again") from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Inside, tifffile does not log; what matters of it becomes an error here."""
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _vendor(tiff: Any) -> str:
    names = {"is_ome": "ome", "is_svs": "aperio", "is_qpi": "perkinelmer", "is_imagej": "imagej"}
    return next((name for flag, name in names.items() if getattr(tiff, flag)), "unknown")

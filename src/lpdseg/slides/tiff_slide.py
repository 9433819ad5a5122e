"""TIFFs of 8-bit RGB: pyramids with sub-IFDs or further pages, OME-TIFF, flat ones; tiled or in strips."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.errors import LpdsegError
from lpdseg.slides.levels import trusted_levels
from lpdseg.slides.rectangle import damaged, on_white
from lpdseg.slides.slide import SlideError, SlideFacts
from lpdseg.slides.tiff_mpp import tiff_mpp
from lpdseg.slides.tiff_pages import check_page, level_pages
from lpdseg.slides.tiff_segments import Segments

SUFFIXES = (".tif", ".tiff", ".svs", ".qptiff", ".btf")


class TiffSlide:
    """A `Slide` that tifffile and imagecodecs read, tile by tile."""

    def __init__(self, path: Path, tiff: Any) -> None:
        self.path = path
        self._tiff = tiff
        pages = level_pages(path, tiff)
        levels = trusted_levels([(page.imagewidth, page.imagelength) for page in pages])
        for index, _ in levels:
            check_page(path, pages[index])
        self._segments = tuple(Segments(pages[index]) for index, _ in levels)
        self.facts = SlideFacts(
            levels=tuple(level for _, level in levels),
            mpp=tiff_mpp(pages[0], tiff.ome_metadata),
            bounds=None,
            vendor=_vendor(tiff),
        )

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """See `Slide.read`."""
        size = self.facts.levels[level].width, self.facts.levels[level].height
        try:
            with _hushed():
                return on_white(size, x, y, width, height, self._segments[level].read)
        except Exception as error:  # damaged bytes make decoders raise almost anything
            raise damaged(self.path, level, x, y, width, height, error) from error

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

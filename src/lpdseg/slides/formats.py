"""The formats that slides come in, and who reads each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lpdseg.slides import image_slide, openslide_slide, tiff_slide
from lpdseg.slides.slide import Slide


@dataclass(frozen=True)
class Reader:
    """One way to read slides.

    - `suffixes`: the files it is tried on, in lower case.
    - `open`: gives the slide, or None where the file is of another format. Raises `SlideError` for a file of its
      format that is damaged.
    - `modules`: of the extra `slides`, without which it cannot work.
    """

    suffixes: tuple[str, ...]
    open: Callable[[Path], Slide | None]
    modules: tuple[str, ...] = ()


READERS: tuple[Reader, ...] = (
    Reader(openslide_slide.SUFFIXES, openslide_slide.open_with_openslide, ("openslide",)),
    Reader(tiff_slide.SUFFIXES, tiff_slide.open_tiff, ("tifffile", "imagecodecs")),
    Reader(image_slide.SUFFIXES, image_slide.open_image),
)
"""In the order in which they are tried."""


def slide_suffixes() -> tuple[str, ...]:
    """The files that count as slides, by lower-case suffix."""
    return tuple(dict.fromkeys(suffix for reader in READERS for suffix in reader.suffixes))


UNREAD_FORMATS = (
    ".vms", ".vmu", ".dcm", ".czi", ".vsi", ".ets", ".zvi", ".lif", ".nd2", ".isyntax", ".i2syntax", ".sdpc",
    ".kfb", ".tmap", ".mds",
)  # fmt: skip
"""Slides by name that no reader takes: formats of their makers, and of many files with a suffix of their own."""

CONVERT = "convert such slides to OME-TIFF, for instance with QuPath or bfconvert"
"""What to do with them."""

"""Slides in the scanners' own formats, through OpenSlide.

Files that OpenSlide knows only as generic tiled TIFF are left to `tiff_slide`, which also knows sub-IFDs and OME.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.errors import SettingsError
from lpdseg.slides.directories import MOST_OF_JPEG_2000, check_directories
from lpdseg.slides.levels import trusted_levels
from lpdseg.slides.mirax import check_mirax_folder
from lpdseg.slides.openslide_trial import try_to_open
from lpdseg.slides.rectangle import WHITE, damaged, on_white
from lpdseg.slides.resolution import mpp_of_resolution
from lpdseg.slides.slide import Bounds, Mpp, SlideError, SlideFacts

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide")
"""One file per slide. Formats of many files with a suffix of their own (DICOM, VMS) are not here: a folder of them
would count every slide several times."""

_BY_OTHER_NAMES = ("dicom", "zeiss")
"""Formats that are not read, see above, and that OpenSlide knows whatever a file is called."""

_BLOCK = 256
"""Side of the blocks in which a level with a fractional downsample is read, in its own pixels."""

_EXACT = 1e-3
"""Pixels of a level by which a rectangle may be shifted without OpenSlide's blending being seen in 8 bits."""


class OpenSlideSlide:
    """A `Slide` that OpenSlide reads."""

    def __init__(self, path: Path, handle: Any) -> None:
        self.path = path
        self._handle = handle
        self._factors = tuple(handle.level_downsamples)
        levels = trusted_levels(handle.level_dimensions, self._factors)
        self._indices = tuple(index for index, _ in levels)
        properties = _properties(handle)
        self._background = _colour(properties.get("openslide.background-color"))
        size = handle.dimensions
        self.facts = SlideFacts(
            levels=tuple(level for _, level in levels),
            mpp=_mpp(properties),
            bounds=_bounds(properties, size),
            vendor=properties.get("openslide.vendor", "unknown"),
            notes=tuple(_left_out(path, properties)),
        )

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """See `Slide.read`. Where the scanner left out tiles, the slide's background colour."""
        size = self.facts.levels[level].width, self.facts.levels[level].height

        def inside(x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
            return self._inside(level, x, y, width, height)

        return on_white(size, x, y, width, height, inside)

    def close(self) -> None:
        """See `Slide.close`."""
        self._handle.close()

    def _inside(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """Reads at positions that do not depend on the rectangle.

        OpenSlide is asked in pixels of level 0. Where they are no whole pixel of the level, it blends neighbours,
        and the same pixel would differ from one rectangle to the next. So such a level is read in blocks of a fixed
        grid.
        """
        found = self.facts.levels[level]
        factor = self._factors[self._indices[level]]
        if abs(factor - round(factor)) * max(found.width, found.height) <= _EXACT * factor:
            return self._rectangle(level, x, y, width, height)
        pixels = np.empty((height, width, 3), np.uint8)
        for top in range(y // _BLOCK * _BLOCK, y + height, _BLOCK):
            for left in range(x // _BLOCK * _BLOCK, x + width, _BLOCK):
                right, bottom = min(left + _BLOCK, x + width), min(top + _BLOCK, y + height)
                block = self._rectangle(level, left, top, right - left, bottom - top)
                first_x, first_y = max(left, x), max(top, y)
                pixels[first_y - y : bottom - y, first_x - x : right - x] = block[first_y - top :, first_x - left :]
        return pixels

    def _rectangle(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        import openslide

        index = self._indices[level]
        factor = self._factors[index]
        try:
            image = self._handle.read_region((round(x * factor), round(y * factor)), index, (width, height))
        except openslide.OpenSlideError as error:
            # After an error OpenSlide refuses everything; other rectangles may well be whole.
            self._handle.close()
            self._handle = _opened(self.path)
            raise damaged(self.path, level, x, y, width, height, error) from error
        if image.getchannel("A").getextrema() == (255, 255):
            return np.array(image.convert("RGB"))
        rgba = np.asarray(image)
        share = rgba[..., 3:].astype(np.float32) / 255
        blended: UInt8[np.ndarray, "h w 3"] = (
            (rgba[..., :3] * share + self._background * (1 - share)).round().astype(np.uint8)
        )
        return blended


def open_with_openslide(path: Path) -> OpenSlideSlide | None:
    """The slide, or None where no scanner's format is recognised.

    **Raises:** `SlideError` for a file of a known format that is damaged; `SettingsError` where OpenSlide's own
    library is missing.
    """
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise SettingsError(
            "OpenSlide's library cannot be loaded; it comes with the extra 'slides': pip install 'lpdseg[slides]'"
        ) from error
    if path.suffix.lower() == ".mrxs":
        check_mirax_folder(path)
    try_to_open(path)
    if openslide.OpenSlide.detect_format(path) in (None, "generic-tiff", *_BY_OTHER_NAMES):
        return None
    check_directories(path, MOST_OF_JPEG_2000)
    handle = _opened(path)
    try:
        return OpenSlideSlide(path, handle)
    except openslide.OpenSlideError as error:
        handle.close()
        raise _unreadable(path, error) from error


def _opened(path: Path) -> Any:
    import openslide

    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SlideError:
    return SlideError(f"{path} cannot be opened as a slide ({error}); copy or export it again")


def _properties(handle: Any) -> dict[str, str]:
    """All that it can give: it lists some whose names are no text under names that it does not know."""
    found = {}
    for name in handle.properties:
        with suppress(KeyError):
            found[name] = handle.properties[name]
    return found


def _left_out(path: Path, properties: dict[str, str]) -> Iterator[str]:
    """Tells of tiles that Aperio's level 0 lacks: OpenSlide leaves their place empty in every level."""
    import tifffile

    if properties.get("openslide.vendor") != "aperio":
        return
    try:
        with tifffile.TiffFile(path) as tiff:
            counts = tiff.pages[0].databytecounts
    except Exception:  # of any kind: it takes less of a damaged file than OpenSlide
        return
    if lost := sum(not count for count in counts):
        yield f"{path} lacks {lost} of {len(counts)} tiles of level 0, which are read as background; copy it again"


def _mpp(properties: dict[str, str]) -> Mpp | None:
    x, y = (_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if x is not None and y is not None:
        return Mpp(x, y, "openslide.mpp-x and openslide.mpp-y")
    x, y = (_number(properties.get(f"tiff.{axis}Resolution")) for axis in "XY")
    if x is None or y is None:
        return None
    return mpp_of_resolution(x, y, properties.get("tiff.ResolutionUnit", "inch"))  # inch is TIFF's default


def _bounds(properties: dict[str, str], size: tuple[int, int]) -> Bounds | None:
    values = [_number(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")]
    told = [int(value) for value in values if value is not None and math.isfinite(value)]
    if len(told) != len(values):
        return None
    x, y, width, height = told
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > size[0] or y + height > size[1]:
        return None  # bounds that reach beyond the slide are no bounds of it
    return None if (width, height) == size else Bounds(x, y, width, height)


def _colour(text: str | None) -> UInt8[np.ndarray, "3"]:
    """`RRGGBB` → RGB; white where nothing is told."""
    try:
        red, green, blue = bytes.fromhex(text or "")
    except ValueError:
        red = green = blue = WHITE
    return np.array([red, green, blue], np.uint8)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None

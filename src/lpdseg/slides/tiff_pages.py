"""Which pages of a TIFF are the levels of a slide, and which of them can be read."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.slides.coded_size import MOST_SAMPLES
from lpdseg.slides.levels import trusted_levels
from lpdseg.slides.slide import SlideError
from lpdseg.slides.tiff_scenes import other_scenes, several

_RGB, _YCBCR = 2, 6
JPEG = 7
"""The tag Compression of tiles and strips that are JPEGs."""
CODED = {6, JPEG, 22610, 33004, 33005, 33007, 34712, 34892, 34933, 34934, 50001, 50002, 52546}
"""Compressions by formats of images (JPEG, JPEG 2000, JPEG XL, JPEG XR, PNG, WebP), which say how large they are:
see `check_coded`."""
PLAIN = {1, 5, 8, 32773, 32946, 34925, 34926, 50000}
"""Those whose decoders are told how many bytes there may be: none, LZW, deflate, PackBits, LZMA, Zstandard."""
QUICK = PLAIN - {34925} | {JPEG}
"""What is decoded at 100 MB in a second at least."""

_REDUCED = 1
"""NewSubfileType of a smaller copy; 9 is a macro image, and 4 a mask."""

MAX_SEGMENT = 1 << 28
"""Bytes of the largest strip or tile that is decoded at once."""


def level_pages(path: Path, tiff: Any) -> tuple[list[Any], str | None]:
    """tifffile's pages of the levels, level 0 first; and what is told of further scenes, which are not read.

    Level 0 is the largest image of the file, so that labels and overviews before or after it do not count. Its
    sub-IFDs are levels, and so are further pages that say that they are smaller copies (in Aperio's files: that are
    tiled, as its levels are), where they are stored like it.

    **Raises:** `SlideError` for several images of the largest size, such as scenes or the planes of a stack, and
    for what `check_page` refuses.
    """
    pages = [page.aspage() for page in tiff.pages]
    if not pages or _next_page(tiff, pages[-1]) >= tiff.filehandle.size:
        raise SlideError(f"{path} ends before its last image, after {tiff.filehandle.size} bytes; copy it again")
    largest = max(page.imagewidth * page.imagelength for page in pages)
    if largest <= 0:
        raise SlideError(f"{path} holds no pixels: an image in it is 0 high or wide; copy or export it again")
    finest = [page for page in pages if page.imagewidth * page.imagelength == largest]
    if len(finest) > 1:
        raise SlideError(several(path, finest, tiff.ome_metadata))
    full = finest[0]
    check_page(path, full)
    smaller = list(full.pages) if full.subifds else []
    smaller += [page for page in pages if _is_copy(page, full, aperio=tiff.is_svs)]
    others = [page for page in pages if _may_be_scene(page, smaller, full, ome=tiff.is_ome)]
    told = other_scenes(path, others, full, tiff.ome_metadata)
    return [full, *(page for page in smaller if _stored_alike(page, full))], told


def check_page(path: Path, page: Any) -> None:
    """Refuses what cannot be decoded to 8-bit RGB as it was meant.

    **Raises:** `SlideError` for another number of channels, depth or colour model, a compression that is not known,
    strips or tiles too large to decode at once, and a file that ends before its pixels do.
    """
    kind = f"{page.samplesperpixel} channel{'s' * (page.samplesperpixel != 1)} of {page.bitspersample} bits"
    if page.samplesperpixel != 3 or page.bitspersample != 8 or page.imagedepth != 1:
        raise SlideError(f"{path} has {kind}; save it as 8-bit RGB without alpha")
    if page.photometric != _RGB and not (page.photometric == _YCBCR and page.compression == JPEG):
        colours = getattr(page.photometric, "name", page.photometric)
        raise SlideError(f"{path} has the colour model {colours}; save it as 8-bit RGB")
    if page.compression not in CODED | PLAIN:
        compression = getattr(page.compression, "name", page.compression)
        raise SlideError(
            f"{path} is compressed as {compression}, which cannot be read; save it with JPEG or deflate"
        )
    rows, columns = segment_size(page)
    most = MOST_SAMPLES if page.compression in CODED else MAX_SEGMENT
    if rows * columns * 3 > most and not is_plain(page):
        raise SlideError(
            f"{path} has {'tiles' if page.is_tiled else 'strips'} of {columns} x {rows} pixels, too large to read "
            "in parts; save it as a tiled TIFF"
        )
    end = int(np.add(page.dataoffsets, page.databytecounts, dtype=np.float64).max(initial=0))
    if end > page.parent.filehandle.size:
        raise SlideError(
            f"{path} ends after {page.parent.filehandle.size} bytes, but its pixels reach to {end}; copy it again"
        )


def segment_size(page: Any) -> tuple[int, int]:
    """(rows, columns) of a tile or strip."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return int(min(page.rowsperstrip, page.imagelength)), int(page.imagewidth)


def _next_page(tiff: Any, page: Any) -> int:
    """Where the page after this one starts, or 0; tifffile only logs that a file has no such place."""
    layout, file = tiff.tiff, tiff.filehandle
    file.seek(page.offset)
    (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    file.seek(page.offset + layout.tagnosize + tags * layout.tagsize)
    return int(struct.unpack(layout.offsetformat, file.read(layout.offsetsize))[0])


def is_plain(page: Any) -> bool:
    """Whether the page's pixels lie in the file as they are, row after row."""
    return bool(page.is_memmappable and not page.is_tiled)


def _is_copy(page: Any, full: Any, *, aperio: bool) -> bool:
    if page is full:
        return False
    return bool(page.subfiletype == _REDUCED or (aperio and page.subfiletype == 0 and page.is_tiled))


def _stored_alike(page: Any, full: Any) -> bool:
    """Whether a page is stored as level 0 is; labels and overviews often are not."""
    return bool(
        page.samplesperpixel == full.samplesperpixel
        and page.bitspersample == full.bitspersample
        and page.photometric == full.photometric
        and page.is_tiled == full.is_tiled
    )


def _may_be_scene(page: Any, smaller: list[Any], full: Any, *, ome: bool) -> bool:
    """Whether a page may be more than a label, or a smaller copy that does not say so."""
    if page is full or page in smaller or page.subfiletype != 0 or not _stored_alike(page, full):
        return False
    sizes = [(one.imagewidth, one.imagelength) for one in (full, page)]
    return ome or len(trusted_levels(sizes)) == 1

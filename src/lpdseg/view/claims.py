"""What a file of results may claim before anything of it is decoded: no more than its image has, and written in no
other way than this program's."""

import zipfile
from collections.abc import Sequence
from math import prod
from typing import Any

from lpdseg.slides.tiff_pages import PLAIN, segment_size

_CHANNELS = 256
_WIDEST = 8
"""Bytes of a number."""
_NAMES = 1 << 20
"""Bytes of the names of classes."""
_TOGETHER = 1 << 20
"""Numbers that are decoded together; this program writes 2^18."""
_PART = 1 << 24
"""Numbers of what is read at once; of a file that has all its levels they are 2^20 at most."""


def check_size(found: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuses a picture whose (W, H) are not those of its image.

    **Raises:** `ValueError`.
    """
    if found != size:
        raise ValueError(f"it has {found[0]} x {found[1]} pixels, and its image {size[0]} x {size[1]}")


def check_archive(held: zipfile.ZipFile, size: tuple[int, int]) -> None:
    """Refuses an archive of probabilities that would be larger than its image.

    **Raises:** `ValueError`; `KeyError` where one of them is missing.
    """
    names, numbers = (held.getinfo(f"{name}.npy").file_size for name in ("classes", "probabilities"))
    if names > _NAMES or numbers > _NAMES + _CHANNELS * _WIDEST * prod(size):
        raise ValueError(f"it claims {names + numbers:,} bytes, more than its image can have")


def check_pyramid(levels: Sequence[Any], size: tuple[int, int]) -> None:
    """Refuses levels of a TIFF that are larger than their image, or of other kinds than this program writes.

    **Raises:** `ValueError`.
    """
    for level in levels:
        page = level.pages[0]
        if page is None or page.compression not in PLAIN:
            raise ValueError("its compression is none that this program writes")
        _check_level((page.imagelength, page.imagewidth), size)
        together = prod(segment_size(page)) * page.samplesperpixel
        _check_together(together, page.bitspersample / 8)
        if max(page.databytecounts, default=0) > 2 * _WIDEST * together + _NAMES:
            raise ValueError("its tiles have more bytes than their pixels need")


def check_store(levels: Sequence[Any], size: tuple[int, int]) -> None:
    """Refuses arrays of a Zarr store that are larger than their image.

    **Raises:** `ValueError`.
    """
    for level in levels:
        _check_level(level.shape[-2:], size)


def check_part(numbers: int) -> None:
    """Refuses to read so many numbers at once, as of a file that lacks its smaller levels.

    **Raises:** `ValueError`.
    """
    if numbers > _PART:
        raise ValueError(f"{numbers:,} of its numbers would be read at once, for it lacks its smaller levels")


def _check_level(found: Sequence[int], size: tuple[int, int]) -> None:
    if len(found) != 2 or not 0 < found[0] <= size[1] or not 0 < found[1] <= size[0]:
        raise ValueError(f"a level of it has the shape {tuple(found)}, and its image {size[0]} x {size[1]} pixels")


def _check_together(numbers: int, width: float) -> None:
    if numbers > _TOGETHER or width > _WIDEST:
        raise ValueError(f"{numbers:,} of its numbers, of {width:g} bytes each, would be decoded at once")

"""How many samples a coded strip or tile claims, whatever its TIFF says of it: decoders make room for them first.

Where a format has its size in a box around the codestream as well, that of the codestream counts, as for decoders;
where there are several, the largest.
"""

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from lpdseg.slides import jpeg_xl

MOST_SAMPLES = 1 << 26
"""Of the largest strip or tile that is decoded at once: 4,728 x 4,728 pixels in RGB. Decoders of JPEG 2000 and
JPEG XL need several times as many bytes."""

_CHANNELS = 3
_MOST_SCANS = 100
"""Of a progressive JPEG, each of which goes over all pixels; encoders make about ten."""

_MOST_PIECES = 1 << 14
"""Tiles of a JPEG 2000, by channels, for each of which its decoder makes some 5 KB of room."""

_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that begin a frame."""

_JPEG_2000 = b"\xff\x4f\xff\x51"
_JPEG_XR = b"WMPHOTO\0"


def check_coded(data: bytes) -> None:
    """Refuses an image in JPEG, JPEG 2000, JPEG XL, JPEG XR, WebP or PNG that claims more than `MOST_SAMPLES`.

    **Raises:** `ValueError` for that, for a JPEG of more scans than encoders make, and for data of which it cannot
    be told; `struct.error` for a header that is cut short.
    """
    samples = _samples(data)
    if samples > MOST_SAMPLES:
        raise ValueError(f"a tile or strip of {samples // _CHANNELS:,} pixels")


def _samples(data: bytes) -> int:
    if data.startswith(b"\xff\xd8"):
        if (scans := data.count(b"\xff\xda")) > _MOST_SCANS:
            raise ValueError(f"a JPEG of {scans:,} scans")
        return _of_jpeg(data)
    if data.startswith(jpeg_xl.STARTS):
        return jpeg_xl.claimed_samples(data)
    if data.startswith(b"II\xbc"):
        return max(map(_of_jpeg_xr, _after(data, _JPEG_XR)), default=MOST_SAMPLES + 1)
    found = max(map(_of_jpeg_2000, _after(data, _JPEG_2000)), default=0)
    if found:
        return found
    with Image.open(BytesIO(data), formats=("WEBP", "PNG")) as image:
        return int(image.width * image.height) * max(_CHANNELS, len(image.getbands()))


def _after(data: bytes, mark: bytes) -> Iterator[bytes]:
    """The bytes that follow each of a mark."""
    at = data.find(mark)
    while at >= 0:
        yield data[at + len(mark) : at + len(mark) + 64]
        at = data.find(mark, at + 1)


def _of_jpeg(data: bytes) -> int:
    at = 2
    while at + 10 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            break
        if marker in _OF_FRAME:
            height, width, channels = struct.unpack_from(">HHB", data, at + 5)
            return int(height * width * max(channels, _CHANNELS))
        # Bytes that fill up to a marker have no length.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("no frame in JPEG data")


def _of_jpeg_2000(head: bytes) -> int:
    right, bottom, left, top, across, down, first_x, first_y, channels = struct.unpack_from(">8IH", head, 4)
    if not across * down:
        raise ValueError("a JPEG 2000 of no pieces")
    samples = int(max(right - left, 0) * max(bottom - top, 0) * max(channels, _CHANNELS))
    pieces = -(-(right - first_x) // across) * -(-(bottom - first_y) // down) * channels
    if samples <= MOST_SAMPLES and pieces > _MOST_PIECES:
        raise ValueError(f"a JPEG 2000 of {pieces:,} pieces")
    return samples


def _of_jpeg_xr(head: bytes) -> int:
    short = head[2] & 0x80
    width, height = struct.unpack_from(">HH" if short else ">II", head, 4)
    return int((width + 1) * (height + 1) * _CHANNELS)

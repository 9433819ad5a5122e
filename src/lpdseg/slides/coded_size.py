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

_MOST_BLOCKS = 1 << 19
"""Code-blocks and precincts of a JPEG 2000, for each of which its decoder makes up to 550 bytes of room before it
reads any."""
_MOST_LEVELS = 32

_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that begin a frame."""

_JPEG_2000 = b"\xff\x4f\xff\x51"
_STYLES = ((b"\xff\x52", 5), (b"\xff\x53", 2), (b"\xff\x53", 3))
"""Marks of how a JPEG 2000, and a component of it, is coded (ISO/IEC 15444-1, A.6), and bytes before the levels."""
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
    styles = [style for mark, own in _STYLES for head in _after(data, mark) for style in _style(head, own)]
    found = max((_of_jpeg_2000(head, styles) for head in _after(data, _JPEG_2000)), default=0)
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


_Style = tuple[int, tuple[int, int], list[tuple[int, int]]]
"""Levels of a JPEG 2000; exponents of the sides of its code-blocks, and of the precincts of each resolution."""


def _style(head: bytes, own: int) -> Iterator[_Style]:
    """What follows a mark, where it is of the length that it says: pixels may have the bytes of a mark.

    **Arguments:**

    - `own`: bytes between its length and the number of levels: the flag that precincts are told is the first of
      them for the whole image, and the last for a component.
    """
    if len(head) < 3 + own + 5:
        return
    flag, rest = (head[2], head[2 + own :]) if own == 5 else (head[1 + own], head[2 + own :])
    levels = rest[0]
    told = rest[5 : 6 + levels] if flag & 1 else b"\xff" * (levels + 1)
    length = 2 + own + 5 + (flag & 1) * (levels + 1)
    if levels <= _MOST_LEVELS and int.from_bytes(head[:2], "big") == length and len(told) == levels + 1:
        yield levels, (rest[1] % 16 + 2, rest[2] % 16 + 2), [(one % 16, one >> 4) for one in told]


def _blocks(sides: tuple[int, int], style: _Style) -> int:
    """Code-blocks and precincts of one component of a piece, as if it began at the corner of the image."""
    levels, block, precincts = style
    count = 0
    for resolution, precinct in enumerate(precincts):
        within = int(resolution > 0)  # of three bands, each of half the side
        groups = parts = 1
        for side, most, whole in zip(sides, block, precinct, strict=True):
            length = -(-side >> levels - resolution)
            groups *= -(-length >> whole)
            parts *= -(-length >> within + min(most, max(whole - within, 0)))
        count += (3 if within else 1) * (groups + parts)
    return count


def _of_jpeg_2000(head: bytes, styles: list[_Style]) -> int:
    right, bottom, left, top, across, down, first_x, first_y, channels = struct.unpack_from(">8IH", head, 4)
    if not across * down:
        raise ValueError("a JPEG 2000 of no pieces")
    samples = int(max(right - left, 0) * max(bottom - top, 0) * max(channels, _CHANNELS))
    pieces = -(-(right - first_x) // across) * -(-(bottom - first_y) // down) * channels
    if samples <= MOST_SAMPLES and pieces > _MOST_PIECES:
        raise ValueError(f"a JPEG 2000 of {pieces:,} pieces")
    sides = min(across, right - left), min(down, bottom - top)
    blocks = 0 if samples > MOST_SAMPLES else max((pieces * _blocks(sides, one) for one in styles), default=0)
    if blocks > _MOST_BLOCKS:
        raise ValueError(f"a JPEG 2000 of {blocks:,} blocks")
    return samples


def _of_jpeg_xr(head: bytes) -> int:
    short = head[2] & 0x80
    width, height = struct.unpack_from(">HH" if short else ">II", head, 4)
    return int((width + 1) * (height + 1) * _CHANNELS)

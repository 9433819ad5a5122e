"""How many pixels a coded strip or tile claims, whatever its TIFF says of it: decoders make room for them first."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that begin a frame."""


def coded_pixels(data: bytes, *, jpeg: bool) -> int:
    """Width times height of an image in JPEG, JPEG 2000, WebP or PNG; 0 where that is not known.

    **Raises:** `ValueError` for a JPEG without a frame.
    """
    if jpeg:
        return _of_jpeg(data)
    try:
        with Image.open(BytesIO(data), formats=("JPEG2000", "WEBP", "PNG")) as image:
            return int(image.width * image.height)
    except UnidentifiedImageError:
        return 0


def _of_jpeg(data: bytes) -> int:
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            break
        if marker in _OF_FRAME:
            return int.from_bytes(data[at + 5 : at + 7], "big") * int.from_bytes(data[at + 7 : at + 9], "big")
        # Bytes that fill up to a marker have no length.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("no frame in JPEG data")

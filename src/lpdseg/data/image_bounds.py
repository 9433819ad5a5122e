"""What an image file may hold beside its pixels, and how much work it may make: small ones can take minutes."""

import os
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image

from lpdseg.files import open_file

MAX_PIXELS = 8192 * 8192
"""An image above this is a slide and no patch."""

LARGEST = 1 << 24
"""Pixels of the largest image that is predicted as a whole, 4096 x 4096: 3 to 5 GB, at 160 to 290 bytes for each.
What is larger goes window by window, as slides do, whose memory does not grow with them."""

_MOST_MORE = 1 << 23
"""Bytes beside pixels: profiles, thumbnails, texts. A PNG of 10 MiB can have a million chunks, each looked at."""

_MOST_BYTES_PER_PIXEL = 8
_MOST_SCANS = 100
"""Of a progressive JPEG, each of which goes over all pixels; encoders make about ten."""

_SCAN = b"\xff\xda"


class HeldFile(BufferedReader):
    """A file that is asked for no more than it holds: Python makes room for all that is asked before it reads.

    **Raises:** `OSError`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(open_file(path).detach())
        self._held = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """See `BufferedReader.read`."""
        return super().read(size if size is None or size < 0 else min(size, self._held))


def too_long(path: Path, file: BytesIO | None = None) -> str | None:
    """As `too_much`, of a PNG that has not been opened: that alone goes over all its chunks; and of any image that
    has more bytes than the largest needs.

    **Raises:** `OSError`.
    """
    size = _size(path, file)
    if size <= _MOST_MORE:
        return None
    if size > _MOST_MORE + _MOST_BYTES_PER_PIXEL * MAX_PIXELS:
        return f"{path} has {size:,} bytes, as no patch has; save it as PNG without metadata"
    if file is None:
        with open_file(path) as opened:
            start = opened.read(24)
    else:
        start = bytes(file.getbuffer()[:24])
    if start[12:16] != b"IHDR" or len(start) < 24:
        return None
    return _of_size(path, size, int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big"))


def too_much(path: Path, image: Image.Image, file: BytesIO | None = None) -> str | None:
    """Why an image that is open, and not decoded yet, holds more than its pixels need; None where it does not.

    `file` is what `path` holds where it has been read already.

    **Raises:** `OSError`.
    """
    if (why := _of_size(path, _size(path, file), image.width, image.height)) is not None:
        return why
    if "progressive" in image.info:
        held = path.read_bytes() if file is None else file.getvalue()
        if (scans := held.count(_SCAN)) > _MOST_SCANS:
            return f"{path} is a JPEG of {scans:,} scans, of {_MOST_SCANS} at most; save it as PNG"
    return None


def _size(path: Path, file: BytesIO | None) -> int:
    return path.stat().st_size if file is None else file.getbuffer().nbytes


def _of_size(path: Path, size: int, width: int, height: int) -> str | None:
    if size <= _MOST_MORE + _MOST_BYTES_PER_PIXEL * width * height:
        return None
    return f"{path} has {size:,} bytes for {width} x {height} pixels; save it as PNG without metadata"

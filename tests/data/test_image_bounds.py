"""Small files that would take long to decode, or hold much beside their pixels."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.patches import read_header, read_image
from lpdseg.errors import DataError
from lpdseg.slides.image_slide import open_image
from lpdseg.slides.slide import SlideError


def png(extra: bytes) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (8, 8)).save(held, "PNG")
    return held.getvalue()[:33] + extra + held.getvalue()[33:]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def scans(count: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(held, "JPEG", progressive=True)
    last = held.getvalue().rindex(b"\xff\xda")
    return held.getvalue()[:-2] + held.getvalue()[last:-2] * count + b"\xff\xd9"


def pages(count: int) -> bytes:
    held = io.BytesIO()
    image = Image.new("RGB", (8, 8))
    image.save(held, "TIFF", save_all=True, append_images=[image] * (count - 1))
    return held.getvalue()


BOMBS = [
    ("chunks.png", png(chunk(b"tEXt", b"a\0b") * 600_000), "has .* bytes for 8 x 8 pixels"),
    ("text.png", png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27)))), "cannot be decoded"),
    ("profile.png", png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 27)))), "cannot be decoded"),
    ("scans.jpg", scans(200), "JPEG of 2.. scans"),
]


@pytest.mark.parametrize(("name", "content", "told"), BOMBS, ids=[name for name, _, _ in BOMBS])
def test_they_are_refused_as_patches_and_as_slides(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for refuse in (read_header, read_image, lambda path: read_image(path, io.BytesIO(content))):
        with pytest.raises(DataError, match=told):
            refuse(path)
    with pytest.raises(SlideError, match=told):
        open_image(path)


def test_pages_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(pages(2))
    with pytest.raises(DataError, match="holds several images"):
        read_header(path)


def test_what_encoders_make_passes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(scans(0))
    assert read_image(path).shape == (64, 64, 3)
    path = tmp_path / "a.png"
    path.write_bytes(png(chunk(b"tEXt", b"a\0b") * 1000))
    assert read_image(path).shape == (8, 8, 3)


def test_a_chunk_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """Python made room for all 3.8 GB of it, which no page of memory had to fill."""
    content = bytearray(png(b""))
    struct.pack_into(">I", content, 33, 0xE3000003)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        for read in (read_image, open_image):
            with suppress(DataError):  # the pixels are there, and what follows them may be missed or not
                read(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()

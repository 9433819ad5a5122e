"""Patches: PNG, JPEG, TIFF, BMP and WebP."""

import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from lpdseg.data.patches import check_image, read_header, read_image
from mutations import bytes_changed, png_changed, tiff_changed

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "image"
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


def seeds(folder: Path) -> list[bytes]:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 14, 3)).astype(np.uint8))
    found = []
    for kind in _FORMATS:
        file = io.BytesIO()
        pixels.save(file, kind)
        found.append(file.getvalue())
    squeezed = io.BytesIO()
    pixels.save(squeezed, "TIFF", compression="tiff_lzw")
    return [*found, squeezed.getvalue()]


def mutate(data: bytes, random: Random) -> bytes:
    change = {b"\x89P": png_changed, b"II": tiff_changed, b"MM": tiff_changed}.get(data[:2], bytes_changed)
    return change(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "x.png"
    path.write_bytes(data)
    header = read_header(path)
    check_image(path)
    pixels = read_image(path)
    assert pixels.shape == (*header.size, 3) and pixels.dtype == np.uint8

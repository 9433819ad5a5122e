"""Masks: PNG, TIFF and BMP, palette and grey."""

import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from lpdseg.data.patches import read_mask
from lpdseg.tissue import IGNORE, PRESETS
from mutations import bytes_changed, png_changed, tiff_changed

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "image"


def seeds(folder: Path) -> list[bytes]:
    mask = Image.fromarray(np.random.default_rng(0).integers(0, 5, (9, 14)).astype(np.uint8))
    palette = mask.copy()
    palette.putpalette([*range(15)])
    found = []
    for image, kind in ((mask, "PNG"), (palette, "PNG"), (palette, "BMP"), (mask, "TIFF")):
        file = io.BytesIO()
        image.save(file, kind)
        found.append(file.getvalue())
    return found


def mutate(data: bytes, random: Random) -> bytes:
    change = {b"\x89P": png_changed, b"II": tiff_changed, b"MM": tiff_changed}.get(data[:2], bytes_changed)
    return change(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "x.png"
    path.write_bytes(data)
    mask = read_mask(path, PRESETS["bcss"], (9, 14))
    assert mask.shape == (9, 14) and set(np.unique(mask)) <= {0, 1, 2, 3, 4, IGNORE}

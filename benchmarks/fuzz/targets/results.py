"""What `segment` wrote, as the viewer reads it back: PNG, label TIFF with levels, archives of probabilities."""

import io
from pathlib import Path
from random import Random

import numpy as np
import tifffile
from PIL import Image

from lpdseg.view.written import WrittenFile
from mutations import bytes_changed, png_changed, tiff_changed

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "image"
_SIZE = (96, 64)


def seeds(folder: Path) -> list[bytes]:
    labels = np.random.default_rng(0).integers(0, 4, _SIZE[::-1]).astype(np.uint8)
    found = []
    for dtype in (np.uint8, np.uint16):
        file = io.BytesIO()
        Image.fromarray(labels.astype(dtype)).save(file, "PNG")
        found.append(file.getvalue())
    for side in (32, 64):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as tiff:
            tiff.write(labels, subifds=1, tile=(side, side), compression="zlib")
            tiff.write(labels[::2, ::2], subfiletype=1, tile=(side, side), compression="zlib")
        found.append(file.getvalue())
    file = io.BytesIO()
    np.savez_compressed(file, probabilities=np.ones((2, *labels.shape), np.float16), classes=["pink", "blue"])
    return [*found, file.getvalue()]


def mutate(data: bytes, random: Random) -> bytes:
    change = {b"\x89P": png_changed, b"II": tiff_changed, b"MM": tiff_changed}.get(data[:2], bytes_changed)
    return change(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / {b"\x89P": "x.png", b"PK": "x.npz"}.get(data[:2], "x.tif")
    path.write_bytes(data)
    across, down = np.arange(0, _SIZE[0], 5), np.arange(0, _SIZE[1], 3)
    found = WrittenFile(path, _SIZE).read(across, down, "blue" if path.suffix == ".npz" else None)
    assert found.shape == (len(down), len(across))

"""Slides: TIFF with pyramids, Aperio's, OME-TIFF, flat TIFF, PNG and JPEG; corners of each level are read."""

import io
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from lpdseg.slides.mpp import resolve_mpp
from lpdseg.slides.readers import open_slide
from mutations import bytes_changed, png_changed, tiff_changed

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "slide"
_SIDE = 64
_READ = 96


def seeds(folder: Path) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(60, 230, (2 * _SIDE, 3 * _SIDE, 3)).astype(np.uint8)
    pixels[:] = pixels[:1, :1]
    tiled: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate", "metadata": None}
    aperio = "Aperio Image Library v11.2.1\n192x128 (64x64)|AppMag = 40|MPP = 0.2500"
    found = []
    for kind in ("pyramid", "subifds", "svs", "ome", "flat", "jpeg tiles"):
        file = io.BytesIO()
        with tifffile.TiffWriter(file, ome=kind == "ome", bigtiff=False) as tiff:
            match kind:
                case "pyramid":
                    tiff.write(pixels, resolution=(40000, 40000), resolutionunit="CENTIMETER", **tiled)
                    tiff.write(pixels[::2, ::2], subfiletype=1, **tiled)
                case "subifds":
                    tiff.write(pixels, subifds=1, **tiled)
                    tiff.write(pixels[::2, ::2], subfiletype=1, **tiled)
                case "svs":
                    tiff.write(pixels, description=aperio, **tiled)
                    tiff.write(pixels[::8, ::8], description=aperio, photometric="rgb", metadata=None)
                    tiff.write(pixels[::2, ::2], description=aperio, **tiled)
                case "ome":
                    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
                    tiff.write(pixels, **(tiled | {"metadata": {"axes": "YXS", **sizes}}))
                case "flat":
                    tiff.write(pixels, photometric="rgb", metadata=None, rowsperstrip=16)
                case _:
                    tiff.write(pixels, **(tiled | {"compression": "jpeg"}))
        found.append(file.getvalue())
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        found.append(file.getvalue())
    return found


def mutate(data: bytes, random: Random) -> bytes:
    change = {b"\x89P": png_changed, b"II": tiff_changed, b"MM": tiff_changed}.get(data[:2], bytes_changed)
    return change(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / ("x.svs" if b"Aperio" in data else "x.png" if data[1:4] == b"PNG" else "x.tif")
    path.write_bytes(data)
    with closing(open_slide(path)) as slide:
        list(slide.facts.notes)
        for number, level in enumerate(slide.facts.levels):
            assert level.width > 0 and level.height > 0
            for x, y in ((0, 0), (level.width - _READ // 2, level.height - _READ // 2)):
                pixels = slide.read(number, x, y, _READ, _READ)
                assert pixels.shape == (_READ, _READ, 3) and pixels.dtype == np.uint8
        resolve_mpp(path, slide.facts, None, None)

"""A drawn slide of which only a part was scanned."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def write_scn(
    path: Path, image: np.ndarray, corner: tuple[int, int], size: tuple[int, int], mpp: float = 0.5
) -> Path:
    """A Leica SCN of `size` pixels of which only `image` was scanned, from `corner` on."""
    nm, (height, width, _) = round(mpp * 1000), image.shape
    images = [
        ((0, 0), size, (size[0] // 10, size[1] // 10), "0.6"),
        (corner, (width, height), (width, height), "20"),
    ]
    described = "".join(
        f"<image><device model='Leica SCN400' version='1.5'/><creationDate>2020-01-01T00:00:00.00Z</creationDate>"
        f"<pixels sizeX='{pixels[0]}' sizeY='{pixels[1]}'>"
        f"<dimension sizeX='{pixels[0]}' sizeY='{pixels[1]}' r='0' ifd='{ifd}'/></pixels>"
        f"<view sizeX='{side[0] * nm}' sizeY='{side[1] * nm}' offsetX='{place[0] * nm}' offsetY='{place[1] * nm}' "
        f"spacingZ='0'/><scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield"
        "</illuminationSource></illuminationSettings></scanSettings></image>"
        for ifd, (place, side, pixels, power) in enumerate(images)
    )
    xml = (
        "<?xml version='1.0'?><scn xmlns='http://www.leica-microsystems.com/scn/2010/10/01'>"
        f"<collection sizeX='{size[0] * nm}' sizeY='{size[1] * nm}'>{described}</collection></scn>"
    )
    macro = np.full((size[1] // 10, size[0] // 10, 3), 250, np.uint8)
    plain: dict[str, Any] = {"photometric": "rgb", "tile": (128, 128), "metadata": None, "compression": "deflate"}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(macro, description=xml, **plain)
        file.write(image, resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER", **plain)
    return path

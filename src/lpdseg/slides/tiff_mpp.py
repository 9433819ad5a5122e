"""Microns per pixel from what a TIFF says of itself: OME-XML, Aperio's description, ImageJ's, resolution tags."""

import math
import re
from typing import Any

from lpdseg.slides.ome import ome_images
from lpdseg.slides.resolution import mpp_of_resolution
from lpdseg.slides.slide import Mpp

_APERIO = re.compile(r"\bMPP\s*=\s*([-+0-9.eE]+)")
_IMAGEJ_MICRONS = re.compile(r"^unit=(?:micron|microns|um|µm|\\u00B5m)\s*$", re.IGNORECASE | re.MULTILINE)
_OME_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}
_UNITS = {2: "inch", 3: "centimeter"}


def tiff_mpp(page: Any, ome: str | None) -> Mpp | None:
    """The first that says something: OME's PhysicalSize, Aperio's `MPP = `, ImageJ's unit, resolution tags.

    **Arguments:**

    - `page`: tifffile's page of level 0.
    - `ome`: the file's OME-XML, where it has one; the image of the page's size counts.
    """
    description = page.description or ""
    found = _from_ome(ome, page) if ome else None
    return found or _from_aperio(description) or _from_imagej(page, description) or _from_tags(page)


def _from_ome(ome: str, page: Any) -> Mpp | None:
    size = (str(page.imagewidth), str(page.imagelength))
    _, pixels = next(iter(ome_images(ome).get(size, ())), ("", None))
    if pixels is None:
        return None
    values = []
    for axis in "XY":
        unit = _OME_MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))  # the schema's default
        try:
            length = float(pixels.get(f"PhysicalSize{axis}", ""))
        except ValueError:
            return None
        if unit is None:
            return None
        values.append(length * unit)
    return Mpp(values[0], values[1], "OME's PhysicalSizeX and PhysicalSizeY")


def _from_aperio(description: str) -> Mpp | None:
    found = _APERIO.search(description)
    try:
        value = float(found.group(1)) if found else math.nan
    except ValueError:
        return None
    return None if math.isnan(value) else Mpp(value, value, "MPP in ImageDescription")


def _from_imagej(page: Any, description: str) -> Mpp | None:
    if not description.startswith("ImageJ=") or not _IMAGEJ_MICRONS.search(description):
        return None
    x, y = page.get_resolution()
    return Mpp(1 / x, 1 / y, "ImageJ's resolution in microns") if x > 0 and y > 0 else None


def _from_tags(page: Any) -> Mpp | None:
    if 282 not in page.tags or 283 not in page.tags:  # XResolution, YResolution
        return None
    x, y = page.get_resolution()
    return mpp_of_resolution(float(x), float(y), _UNITS.get(int(page.resolutionunit), ""))

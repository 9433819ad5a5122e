"""Microns per pixel from the resolution tags of a TIFF."""

import math

from lpdseg.slides.slide import Mpp

_MICRONS = {"inch": 25_400.0, "centimeter": 10_000.0}
"""Microns per unit of the tag ResolutionUnit; without a unit the other tags are a ratio and no resolution."""


def mpp_of_resolution(x: float, y: float, unit: str) -> Mpp | None:
    """Pixels per `unit` (`inch` or `centimeter`) → microns per pixel; None where the tags say nothing.

    Resolutions for print, such as 72 per inch, are given as they are: `resolve_mpp` refuses them by name.
    """
    microns = _MICRONS.get(unit)
    if microns is None or not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
        return None
    return Mpp(microns / x, microns / y, f"the resolution tags ({x:.6g} x {y:.6g} pixels per {unit})")

"""Where on a slide there is tissue, so that glass is not computed.

h x w pixels of a mask at low resolution. Area is in square microns.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from lpdseg.maps.glass import GLASS_DENSITY
from lpdseg.slides.at_mpp import AtMpp

_BLACK = 25
"""No stain is as dark in all channels once it is averaged over 8 microns: a scanner filled such pixels in."""

_INK = 0.15
"""Optical density by which ink absorbs more red than green. Haematoxylin and eosin both absorb more green."""

_SPECK = 2_500.0
"""Tissue smaller than this, a square of 50 microns, is dust."""

_HOLE = 40_000.0
"""Glass smaller than this and enclosed by tissue, a square of 200 microns, is a lumen or a crack."""

_STROKE = 40_000.0
"""Black or ink smaller than this is on tissue: pigment, or the ink of a surgical margin."""

_EDGE = 2
"""Pixels of the mask around black and ink that are mixed with it."""

_BAND = 256
"""Rows of the mask that are read at once; whole blocks of `AtMpp`, so that no row is read twice."""

_EIGHT = np.ones((3, 3), bool)
"""Pixels that touch at a corner belong together: septa and fibres are thin."""


@dataclass(frozen=True)
class TissueMask:
    """Tissue and glass, at low resolution.

    - `found`: True where there is tissue.
    - `scale`: (x, y), pixels of the view per pixel of the mask.
    """

    found: Bool[np.ndarray, "h w"]
    scale: tuple[float, float]

    def touches(self, x: int, y: int, width: int, height: int) -> bool:
        """Whether a rectangle of the view, in its pixels, holds tissue or is within one pixel of the mask of it.

        What lies outside the view is glass.
        """
        first_x, last_x = self._span(x, width, 0)
        first_y, last_y = self._span(y, height, 1)
        return bool(self.found[first_y:last_y, first_x:last_x].any())

    @property
    def share(self) -> float:
        """The share of the slide that is tissue, in 0..1."""
        return float(self.found.mean())

    def _span(self, start: int, length: int, axis: int) -> tuple[int, int]:
        """First pixel of the mask, and the one after the last."""
        first = math.floor(start / self.scale[axis]) - 1
        last = math.ceil((start + length) / self.scale[axis]) + 1
        return max(first, 0), max(last, 0)


def find_tissue(view: AtMpp, mpp: float = 8.0) -> TissueMask:
    """Finds tissue by its mean optical density, at low resolution.

    Glass is below a density of 0.06, see `lpdseg.maps.glass`. Black that scanners fill in is no tissue, nor
    are strokes of a blue or green pen, where they are larger than 200 x 200 microns; black and red ink cannot be
    told from tissue and stay. Specks below 50 x 50 microns are dropped, and holes below 200 x 200 are filled. In
    doubt it is tissue: then glass is computed in vain, but no tissue is lost.

    The slide is read in bands, from the coarsest level that fits.

    **Arguments:**

    - `view`: the slide as it will be segmented.
    - `mpp`: microns per pixel of the mask; the view's where that is coarser.

    **Returns:** the mask; a slide without tissue has a share of 0.

    **Raises:** `SlideError` where the file is damaged.
    """
    from scipy import ndimage

    low = AtMpp(view.slide, view.mpp, max(mpp, view.wanted))
    width, height = low.size
    stained = np.zeros((height, width), bool)
    foreign = np.zeros((height, width), bool)
    for top in range(0, height, _BAND):
        rows = slice(top, min(top + _BAND, height))
        pixels = low.read(0, top, width, rows.stop - top)
        stained[rows], foreign[rows] = _judge(pixels)
    area = low.wanted**2
    foreign = _without_small(foreign, _STROKE / area)
    found = stained & ~ndimage.binary_dilation(foreign, _EIGHT, iterations=_EDGE)
    found = _without_small(found, _SPECK / area)
    margin = np.ones_like(found)  # glass that reaches it is not enclosed
    margin[1:-1, 1:-1] = False
    found = ~_without_small(~found, _HOLE / area, keep=foreign | margin)
    ratio = low.wanted / view.wanted
    return TissueMask(found, (ratio, ratio))


def _judge(
    pixels: UInt8[np.ndarray, "rows w 3"],
) -> tuple[Bool[np.ndarray, "rows w"], Bool[np.ndarray, "rows w"]]:
    """Which pixels are no glass, and which are black or ink."""
    density = _DENSITY[pixels]
    ink = density[..., 0] - density[..., 1] > _INK
    return density.mean(-1) >= GLASS_DENSITY, ink | (pixels.max(-1) <= _BLACK)


_DENSITY = -np.log10(np.maximum(np.arange(256, dtype=np.float32), 1) / 255)
"""Optical density, base 10, by grey level."""


def _without_small(
    found: Bool[np.ndarray, "h w"], least: float, keep: Bool[np.ndarray, "h w"] | None = None
) -> Bool[np.ndarray, "h w"]:
    """Drops connected regions of fewer than `least` pixels; with `keep`, not those that hold a pixel of it."""
    from scipy import ndimage

    regions, count = ndimage.label(found, _EIGHT)
    large = np.bincount(regions.ravel(), minlength=count + 1) >= least
    if keep is not None:
        large[np.unique(regions[keep])] = True
    large[0] = False
    kept: Bool[np.ndarray, "h w"] = large[regions]
    return kept

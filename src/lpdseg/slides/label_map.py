"""A segmented slide: one label per pixel of a grid that lies over it.

H x W pixels of the grid.
"""

from dataclasses import dataclass
from typing import Any

from lpdseg.slides.slide import Bounds
from lpdseg.tissue import TissueClasses


@dataclass(frozen=True)
class LabelMap:
    """A mask of a slide, too large for memory: it is read in rectangles.

    Pixel (column, row) of the grid covers x in [column · sx, (column + 1) · sx) of level 0, and y likewise; the
    last column and row may reach beyond the slide.

    - `labels`: anything of shape (H, W) that gives a uint8 array for `labels[y0:y1, x0:x1]`: internal indices of
      `classes`, C for background and for glass that was not computed.
    - `scale`: (sx, sy), pixels of level 0 per pixel of the grid.
    - `mpp`: (x, y) microns per pixel of the grid.
    - `slide_size`: (width, height) of level 0.
    - `classes`: tissue classes.
    - `bounds`: the part of level 0 that was scanned; None where that is all.
    - `origin`: (x, y) of the pixel of level 0 that coordinates in files count from.
    - `slide_id`: tells the slide from others, wherever it lies.
    - `about`: what the model was trained on and what its masks are for, a sentence.
    """

    labels: Any
    scale: tuple[float, float]
    mpp: tuple[float, float]
    slide_size: tuple[int, int]
    classes: TissueClasses
    bounds: Bounds | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    slide_id: str = ""
    about: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of the grid."""
        height, width = self.labels.shape
        return int(width), int(height)

    @property
    def corner_um(self) -> tuple[float, float]:
        """(x, y) in microns of the grid's upper left corner, seen from `origin`; never -0."""
        x, y = (0.0 - at / scale * mpp for at, scale, mpp in zip(self.origin, self.scale, self.mpp, strict=True))
        return x, y

"""A segmented slide: one label per pixel of a grid that lies over it.

H x W pixels of the grid.
"""

from dataclasses import dataclass
from typing import Any

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
    """

    labels: Any
    scale: tuple[float, float]
    mpp: tuple[float, float]
    slide_size: tuple[int, int]
    classes: TissueClasses

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of the grid."""
        height, width = self.labels.shape
        return int(width), int(height)

"""What exports need of a slide: RGB at one resolution."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@runtime_checkable
class View(Protocol):
    """A slide as one image, such as `lpdseg.slides.at_mpp.AtMpp`.

    - `size`: (W, H) in pixels.
    - `scale`: (x, y) pixels of level 0 per pixel.
    - `wanted`: microns per pixel.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    wanted: float

    def read(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a rectangle in pixels of the view; what lies outside the slide is white."""
        ...

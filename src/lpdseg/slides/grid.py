"""Windows that cover an image: where they lie, and how much each of their pixels counts.

The image has W x H pixels; windows are squares.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from lpdseg.errors import SettingsError

_LEAST = 1e-3
"""Weight of a window's outermost pixel along one side; the square of it, for a corner, is still a float16."""


@dataclass(frozen=True)
class Grid:
    """Rows and columns of windows, as few as a stride of `window` − `overlap` needs.

    The last window of a row or column is shifted inwards, so that it stays inside. Along a side that is shorter
    than a window there is one window, which reaches outside.

    **Arguments:**

    - `size`: (W, H) of the image in pixels.
    - `window`: side of a window in pixels.
    - `overlap`: pixels that neighbours share; the shifted ones share more.

    **Raises:** `SettingsError` for a window, overlap or size that makes no grid.
    """

    size: tuple[int, int]
    window: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise SettingsError(
                f"windows of {self.window} pixels cannot overlap by {self.overlap}; use 0 to {self.window - 1}"
                if self.window > 0
                else f"a window needs a positive side; got {self.window}"
            )
        if min(self.size) < 1:
            raise SettingsError(f"an image of {self.size[0]} x {self.size[1]} pixels has no windows")

    @property
    def rows(self) -> int:
        """Windows from top to bottom."""
        return self._count(self.size[1])

    @property
    def columns(self) -> int:
        """Windows from left to right."""
        return self._count(self.size[0])

    def origin(self, row: int, column: int) -> tuple[int, int]:
        """(x, y) of the window's upper left pixel.

        **Raises:** `IndexError` for a window that is not in the grid.
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise IndexError(f"no window ({row}, {column}) in a grid of {self.rows} x {self.columns}")
        return self._start(column, self.size[0]), self._start(row, self.size[1])

    def weights(self) -> Float32[np.ndarray, "window window"]:
        """How much each pixel of a window counts where windows overlap; divide by the sum over the windows.

        A raised cosine over the overlap at each side, and 1 between, in (0, 1]. Where two windows share `overlap`
        pixels, up to half a window, their weights add up to the same everywhere: neither leaves an edge.
        """
        side = np.ones(self.window)
        if self.overlap:
            places = (np.arange(self.overlap) + 0.5) / self.overlap
            ramp = _LEAST + (1 - _LEAST) * np.sin(np.pi / 2 * places) ** 2
            side[: self.overlap] *= ramp
            side[-self.overlap :] *= ramp[::-1]
            side = np.maximum(side, _LEAST)
        return np.outer(side, side).astype(np.float32)

    def _count(self, length: int) -> int:
        stride = self.window - self.overlap
        return 1 if length <= self.window else -(-(length - self.window) // stride) + 1

    def _start(self, number: int, length: int) -> int:
        return max(min(number * (self.window - self.overlap), length - self.window), 0)

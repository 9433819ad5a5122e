"""The labels of a slide on disk while they are made: compressed tiles, so that glass takes no room.

H x W pixels of the slide; h rows of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.extras import needed
from lpdseg.segmenting.slides.rows import RowBlocks

_TILE = 1024


class LabelFile:
    """Takes rows of labels from top to bottom; afterwards `array` gives rectangles of them.

    Rows are collected until a row of tiles is whole, so that no tile is written twice, and written by a thread.

    **Arguments:**

    - `folder`: is made; whoever asks for it removes it.
    - `size`: (W, H).
    - `background`: the label of pixels that are not written, and of tiles that take no room.

    **Raises:** `SettingsError` where the extra `slides` is not installed; `OSError` where the disk is full.
    """

    def __init__(self, folder: Path, size: tuple[int, int], background: int) -> None:
        needed("slides", "zarr")
        import zarr

        self.background = background
        width, height = size
        self.array: Any = zarr.create_array(
            folder,
            shape=(height, width),
            chunks=(min(_TILE, height), min(_TILE, width)),
            dtype="uint8",
            fill_value=background,
        )
        self._blocks = RowBlocks(self._write, _TILE, height)

    def append(self, labels: UInt8[np.ndarray, "h W"]) -> None:
        """The next rows."""
        self._blocks.append(labels)

    def close(self) -> None:
        """Waits for what is being written."""
        self._blocks.close()

    def _write(self, top: int, labels: UInt8[np.ndarray, "h W"]) -> None:
        self.array[top : top + len(labels)] = labels

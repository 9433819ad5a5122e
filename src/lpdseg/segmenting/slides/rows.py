"""Collecting rows until enough are there to be written at once: compressed tiles are slow to write in parts."""

from collections.abc import Callable

import numpy as np


class RowBlocks:
    """Takes rows from top to bottom, and hands them on in blocks of `rows`; the last may have fewer.

    **Arguments:**

    - `write`: called with the first row of a block, and the block. It must not keep the block.
    - `rows`: of a block.
    - `height`: of all rows.
    """

    def __init__(self, write: Callable[[int, np.ndarray], None], rows: int, height: int) -> None:
        self._write, self._rows, self._height = write, min(rows, height), height
        self._block: np.ndarray | None = None
        self._first = self._held = 0

    def append(self, rows: np.ndarray) -> None:
        """The next rows: h x W, or n x h x W with the same n and W each time."""
        if self._block is None:
            self._block = np.empty((*rows.shape[:-2], self._rows, rows.shape[-1]), rows.dtype)
        while rows.shape[-2]:
            some = rows[..., : self._rows - self._held, :]
            count = some.shape[-2]
            self._block[..., self._held : self._held + count, :] = some
            self._held += count
            rows = rows[..., count:, :]
            if self._held == self._rows or self._first + self._held == self._height:
                self._write(self._first, self._block[..., : self._held, :])
                self._first, self._held = self._first + self._held, 0

"""Collecting rows until enough are there to be written at once: compressed tiles are slow to write in parts."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

_SPARE_BYTES = 1 << 26
"""Blocks up to this size are written while the next one is collected, which takes the memory of two."""


class RowBlocks:
    """Takes rows from top to bottom, and hands them on in blocks of `rows`; the last may have fewer.

    A thread writes a block while the rows below it are collected. What it raises is raised by a later `append`, and
    once the last row is there all has been written.

    **Arguments:**

    - `write`: called with the first row of a block, and the block. It must not keep the block.
    - `rows`: of a block.
    - `height`: of all rows.
    """

    def __init__(self, write: Callable[[int, np.ndarray], None], rows: int, height: int) -> None:
        self._write, self._rows, self._height = write, min(rows, height), height
        self._block: np.ndarray | None = None
        self._spare: np.ndarray | None = None
        self._first = self._held = 0
        self._writer = ThreadPoolExecutor(1, "lpdseg-rows")
        self._written: Future[None] | None = None

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
                self._block = self._hand_on(self._block)

    def close(self) -> None:
        """Waits for what is being written, however that ends, and for nothing once the last row was there."""
        self._writer.shutdown()

    def _hand_on(self, block: np.ndarray) -> np.ndarray:
        """Gives the block that the next rows go to."""
        self._wait()
        self._written = self._writer.submit(self._write, self._first, block[..., : self._held, :])
        self._first, self._held = self._first + self._held, 0
        if self._first == self._height or block.nbytes > _SPARE_BYTES:
            self._wait()
            return block
        following, self._spare = np.empty_like(block) if self._spare is None else self._spare, block
        return following

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()

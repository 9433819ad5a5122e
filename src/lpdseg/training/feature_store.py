"""Items of fixed length on disk that runs share, checked when they are opened; see `lpdseg.training.feature_room`.

A store is a folder. `PART.bin` holds a part's items one after another, `PART.sums` of each block how many items it
has and their checksum, written after them. So a process that is ended while it fills loses the block at hand alone,
and a damaged block is found and filled again.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.cores import allowed_cores
from lpdseg.errors import OutputError
from lpdseg.locks import lock

BLOCK = 32
"""Items that are filled and checked together."""


@dataclass(frozen=True)
class Part:
    """Items of one kind: how many, and bytes of each."""

    name: str
    items: int
    nbytes: int


@dataclass(frozen=True)
class Block:
    """Neighbouring items of a part; `number` counts blocks."""

    part: str
    number: int
    items: range


class FeatureStore:
    """What `open_store` gives; it may be sent to other processes while it is open here.

    **Attributes:**

    - `held`: of how many items of each part, from the first on, there is room.
    - `damaged`: blocks that `todo` has found changed since they were written.
    """

    def __init__(self, folder: Path, parts: Iterable[Part], held: Mapping[str, int]) -> None:
        self.folder, self.held, self.damaged = folder, held, 0
        self.parts = {part.name: part for part in parts if held[part.name]}
        self._maps: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # another process opens the files itself

    @property
    def nbytes(self) -> int:
        """Of all items that there is room for."""
        return sum(self.held[name] * part.nbytes for name, part in self.parts.items())

    @contextmanager
    def filling(self, waits: Callable[[], None]) -> Iterator[None]:
        """One process at a time: what another has filled meanwhile is not to be done. `waits` is called before
        waiting for it."""
        with refusing(self.folder.parent):
            path = self.folder / "filling"
            handle = lock(path, wait=False)
            if handle is None:
                waits()
                handle = lock(path)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def blocks(self, parts: Iterable[str] | None = None) -> list[Block]:
        """All blocks that there is room for, of some parts or of all."""
        return [
            Block(part, first // BLOCK, range(first, min(first + BLOCK, self.held[part])))
            for part in (self.parts if parts is None else parts)
            for first in range(0, self.held[part], BLOCK)
        ]

    def todo(self) -> list[Block]:
        """Blocks that are not there or damaged, in the order of the parts; everything that is there is read."""
        self.damaged = 0
        found: list[Block] = []
        with refusing(self.folder.parent), ThreadPoolExecutor(allowed_cores()) as pool:
            for name in self.parts:
                blocks, sums = self.blocks([name]), self._sums(name)
                states = pool.map(lambda block, sums=sums: self._is_whole(block, *sums[block.number]), blocks)
                for block, whole in zip(blocks, states, strict=True):
                    if not whole:
                        found.append(block)
                        self.damaged += bool(sums[block.number][0] >= len(block.items))
        return found

    def write(self, block: Block, data: np.ndarray) -> None:
        """Keeps a block's items: uint8, items x bytes.

        **Raises:** `OutputError` where the disk refuses.
        """
        flat = np.ascontiguousarray(data).reshape(-1)
        assert flat.nbytes == len(block.items) * self.parts[block.part].nbytes
        with refusing(self.folder.parent):
            with self._file(block.part).open("r+b") as file:
                file.seek(block.items.start * self.parts[block.part].nbytes)
                file.write(flat.data)
            path = self._file(block.part, "sums")
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.seek(8 * block.number)
                file.write(np.array([len(block.items), zlib.crc32(flat.data)], "<u4").tobytes())

    def holds(self, part: str, item: int) -> bool:
        """Whether there is room for an item, and so the item itself once everything is filled."""
        return item < self.held.get(part, 0)

    def rows(self, part: str) -> np.ndarray:
        """A part's items, uint8, items x bytes: the file as it is, read where it is looked at."""
        if part not in self._maps:
            shape = (self.held[part], self.parts[part].nbytes)
            self._maps[part] = np.memmap(self._file(part), np.uint8, "r", shape=shape)
        return self._maps[part]

    def _sums(self, part: str) -> list[tuple[int, int]]:
        nbytes, path = 8 * -(-self.held[part] // BLOCK), self._file(part, "sums")
        written = path.read_bytes()[:nbytes] if path.exists() else b""
        sums = np.frombuffer(written.ljust(nbytes, b"\0"), "<u4").reshape(-1, 2)
        return [(int(items), int(total)) for items, total in sums]

    def _is_whole(self, block: Block, items: int, total: int) -> bool:
        """Whether a block has its items, and they are as they were written: `items`, of this checksum."""
        if not len(block.items) <= items <= BLOCK:
            return False
        nbytes = self.parts[block.part].nbytes
        with self._file(block.part).open("rb") as file:
            file.seek(block.items.start * nbytes)
            return zlib.crc32(file.read(items * nbytes)) == total

    def _file(self, part: str, kind: str = "bin") -> Path:
        return self.folder / f"{part}.{kind}"


@contextmanager
def refusing(root: Path) -> Iterator[None]:
    """What the system refuses becomes a sentence."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot keep what the frozen encoder gives in {root} ({error.strerror or error}); name another folder "
            "in LPDSEG_CACHE, or set model.feature_cache=0"
        ) from error

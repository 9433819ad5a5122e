"""Training patches for a PyTorch loader, and the order in which they come.

Both are pure functions of the seed, the epoch and the position: nothing has to be saved to resume exactly, and any
number of processes sees the same global batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lpdseg.data.augment import random_orientation, stain_jitter
from lpdseg.data.patches import read_image
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError

_CACHE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Draw:
    """One patch at one place of the training order."""

    epoch: int
    index: int


class TrainingPatches(Dataset[dict[str, Tensor]]):
    """Patches and image-level labels; masks are never opened.

    **Arguments:**

    - `records`: of the training split, all with labels.
    - `seed`: of the random variation.
    - `flips`, `jitter`: see `lpdseg.data.augment`.
    - `size`: side in pixels to which patches are resized; None where all have the same size.
    - `cache`: keep decoded patches in memory, up to 4 GiB.

    **Raises:** `DataError` for a patch without labels, or that cannot be read.
    """

    def __init__(
        self,
        records: Sequence[PatchRecord],
        seed: int,
        *,
        flips: bool = True,
        jitter: float = 0.0,
        size: int | None = None,
        cache: bool = True,
    ) -> None:
        for record in records:
            if record.labels is None:
                raise DataError(f"{record.path} is in the training split but has no labels; add them")
        self.records, self.seed, self.flips, self.jitter, self.size = list(records), seed, flips, jitter, size
        self._cache: dict[int, np.ndarray] | None = {} if cache else None
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """`image`: uint8, 3 x H x W, RGB; `labels`: float32, C, 0 or 1; `index`: int64."""
        image = self._image(draw.index)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.index))
        if self.flips:
            image = random_orientation(image, rng)
        if self.jitter > 0:
            image = stain_jitter(image, self.jitter, rng)
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        labels = torch.tensor(self.records[draw.index].labels, dtype=torch.float32)
        return {"image": pixels, "labels": labels, "index": torch.tensor(draw.index)}

    def _image(self, index: int) -> np.ndarray:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image = read_image(self.records[index].path)
        if self.size is not None and image.shape[:2] != (self.size, self.size):
            resized = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        if self._cache is not None and self._cached_bytes + image.nbytes <= _CACHE_BYTES:
            self._cache[index] = image
            self._cached_bytes += image.nbytes
        return image


class GlobalBatches(Sampler[list[Draw]]):
    """This process's part of each global batch, from any step on.

    Every epoch is a permutation drawn from (seed, epoch); a last batch that is not full is left out, so that every
    step weighs the same. A split smaller than a batch is repeated to fill one.

    **Arguments:**

    - `count`: patches in the split.
    - `batch`: patches per step over all processes.
    - `start`, `stop`: steps, `start` included.
    - `rank`, `world`: this process among all; `batch` must divide by `world`.
    """

    def __init__(
        self, count: int, batch: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1
    ) -> None:
        self.count, self.batch, self.seed, self.start, self.stop = count, batch, seed, start, stop
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        per_epoch = steps_per_epoch(self.count, self.batch)
        local = self.batch // self.world
        order: np.ndarray = np.empty(0, np.int64)
        for step in range(self.start, self.stop):
            epoch, place = divmod(step, per_epoch)
            if place == 0 or step == self.start:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
                order = np.resize(order, max(self.count, self.batch))
            first = place * self.batch + self.rank * local
            yield [Draw(epoch, int(index)) for index in order[first : first + local]]


def steps_per_epoch(count: int, batch: int) -> int:
    """Full batches in `count` patches; at least one."""
    return max(1, count // batch)

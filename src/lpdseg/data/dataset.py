"""Training patches for a PyTorch loader, and the order in which they come.

Both are pure functions of the seed, the epoch and the position: nothing has to be saved to resume exactly, and any
number of processes sees the same global batches.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, distributed
from torch.utils.data import Dataset, Sampler, get_worker_info

from lpdseg.data.augment import apply_density_map, draw_orientation, draw_stains, turned
from lpdseg.data.geometry import Size, fit_image, fit_mask
from lpdseg.data.patches import read_image, read_mask
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError
from lpdseg.tissue import TissueClasses

Stains = Float[np.ndarray, "3 3"]

_CACHE_BYTES = 4 * 2**30
_CACHE_SHARE = 0.25  # of the memory that is free
_ORDER, _VARIATION = (
    1,
    2,
)  # first words of the seeds, since (seed, epoch) and (seed, epoch, 0) give the same numbers


@dataclass(frozen=True)
class Draw:
    """One patch at one place of the training order.

    - `place`: in the global batch, over all processes.
    """

    epoch: int
    index: int
    place: int = 0


@dataclass(frozen=True)
class Variation:
    """All that is drawn for a patch before its pixels are made.

    - `turn`: see `lpdseg.data.augment.turned`.
    - `stains`: map of densities; None leaves them as they are.
    """

    index: int
    turn: int
    stains: Stains | None


class TrainingPatches(Dataset[dict[str, Tensor]]):
    """Patches and image-level labels; masks are opened only where they are asked for.

    **Arguments:**

    - `records`: of the training split, all with labels.
    - `seed`: of the random variation.
    - `flips`, `jitter`: see `lpdseg.data.augment`.
    - `size`: (H, W) in pixels that patches are brought to, see `lpdseg.data.geometry`; None where all have one.
    - `masks_of`: the classes of true masks, for a method that learns from them; None opens no mask.
    - `cache`: keep decoded patches in memory, up to 4 GiB or a quarter of what is free, over all processes.
    - `kept`: pixels by path that were decoded before, see `lpdseg.data.reading`; they are taken out.

    **Raises:** `DataError` for a patch without labels or a mask that is asked for, or that cannot be read.
    """

    def __init__(
        self,
        records: Sequence[PatchRecord],
        seed: int,
        *,
        flips: bool = True,
        jitter: float = 0.0,
        size: Size | None = None,
        masks_of: TissueClasses | None = None,
        cache: bool = True,
        kept: dict[Path, np.ndarray] | None = None,
    ) -> None:
        for record in records:
            if record.labels is None:
                raise DataError(f"{record.path} is in the training split but has no labels; add them")
            if masks_of is not None and record.mask is None:
                raise DataError(
                    f"{record.path} is in the training split but has no mask, which this method learns from; name "
                    "masks in the column `mask` of a manifest CSV, or choose another --method"
                )
        self.masks_of = masks_of
        self.records, self.seed, self.flips, self.jitter, self.size = list(records), seed, flips, jitter, size
        self._cache: dict[int, np.ndarray] | None = {} if cache else None
        self._kept = {} if kept is None else kept
        self._processes = distributed.get_world_size() if _is_distributed() else 1
        self._room: int | None = None  # bytes left in the cache; known only in the process that reads

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        # Pixels stay in this process: sending them to loader processes costs more than reading them there.
        return self.__dict__ | {"_kept": {}, "_cache": None if self._cache is None else {}, "_room": None}

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """`image`: uint8, 3 x H x W, RGB; `labels`: float32, C, 0 or 1.

        `mask`, where asked for: uint8, H x W, in internal numbering, turned as the image is.
        """
        return self.varied(self.draw(draw))

    def draw(self, draw: Draw) -> Variation:
        """How the patch is varied at that place."""
        rng = np.random.default_rng((_VARIATION, self.seed, draw.epoch, draw.index))
        return Variation(draw.index, self.turn(rng), self.stains(rng))

    def turn(self, rng: np.random.Generator) -> int:
        """An orientation, where patches are turned."""
        return draw_orientation(rng) if self.flips else 0

    def stains(self, rng: np.random.Generator) -> Stains | None:
        """A strength of stains, where they vary."""
        return draw_stains(self.jitter, rng) if self.jitter > 0 else None

    def varied(self, variation: Variation, pixels: bool = True) -> dict[str, Tensor]:
        """What `__getitem__` gives, for a patch that is varied so.

        Without `pixels` the image has its size but no channels, and no file is opened for it.
        """
        batch = {"labels": torch.tensor(self.records[variation.index].labels, dtype=torch.float32)}
        if not pixels:
            batch["image"] = torch.empty((0, *self.shape), dtype=torch.uint8)
            if self.masks_of is None:
                return batch
        layers = turned(self.layers(variation.index), variation.turn)
        if pixels:
            image = layers[..., :3]
            image = image if variation.stains is None else apply_density_map(image, variation.stains)
            batch["image"] = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if self.masks_of is not None:
            batch["mask"] = torch.from_numpy(np.ascontiguousarray(layers[..., 3]))
        return batch

    @cached_property
    def shape(self) -> Size:
        """(H, W) in pixels of every patch in training."""
        height, width = self.plain(0).shape[:2]
        return height, width

    def forget(self) -> None:
        """Lets go of decoded patches, which nobody will ask for again."""
        self._kept.clear()
        if self._cache is not None:
            self._cache.clear()

    def plain(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """A patch at its size in training, without variation."""
        return self.layers(index)[..., :3]

    def layers(self, index: int, keep: bool = True) -> UInt8[np.ndarray, "H W L"]:
        """RGB, and the mask as a fourth layer where it is asked for; without variation.

        `keep` lets the cache have it, where it has room.
        """
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image = self._read(index)
        if keep and self._cache is not None:
            if self._room is None:
                self._room = cache_room(self._processes)
            if image.nbytes <= self._room:
                self._cache[index] = image
                self._room -= image.nbytes
        return image

    def _read(self, index: int) -> UInt8[np.ndarray, "H W L"]:
        record = self.records[index]
        pixels = self._kept.pop(record.path, None)
        pixels = read_image(record.path) if pixels is None else pixels
        image = pixels if self.size is None else fit_image(pixels, self.size, self.flips)
        if self.masks_of is not None:
            assert record.mask is not None
            mask = self._kept.pop(record.mask, None)
            mask = read_mask(record.mask, self.masks_of, pixels.shape[:2]) if mask is None else mask
            image = np.dstack([image, mask if self.size is None else fit_mask(mask, self.size, self.flips)])
        return image


class GlobalBatches(Sampler[list[Draw]]):
    """This process's part of each global batch, from any step on.

    Every epoch is a permutation drawn from seed and epoch; a last batch that is not full is left out, so that every
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
                order = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(self.count)
                order = np.resize(order, max(self.count, self.batch))
            first = place * self.batch + self.rank * local
            yield [
                Draw(epoch, int(index), self.rank * local + own)
                for own, index in enumerate(order[first : first + local])
            ]


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def cache_room(processes: int) -> int:
    """Bytes that this process may keep, when each of `processes` reads in as many loader processes as this one."""
    room = _CACHE_BYTES
    with suppress(ValueError, OSError):  # not every system tells
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        room = min(room, int(free * _CACHE_SHARE))
    worker = get_worker_info()
    return room // (processes * (1 if worker is None else worker.num_workers))


def steps_per_epoch(count: int, batch: int) -> int:
    """Full batches in `count` patches; at least one."""
    return max(1, count // batch)

"""Batches that come with what a frozen encoder gave for their images, and with pixels only where somebody looks.

n images; scale l of what is kept has C_l channels on h x w pixels.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from lpdseg.data.dataset import Draw, TrainingPatches
from lpdseg.data.variants import Variants
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.tissue import IGNORE
from lpdseg.training.feature_store import Block, FeatureStore, Part

_PATCHES = "patches-"

Place = tuple[str, int]
"""A part of the store, and an item of it."""


@dataclass(frozen=True)
class Layout:
    """How what an encoder gives for an image lies in bytes: one scale after another, in bfloat16.

    Channels lie side by side, as convolutions take them fastest.

    **Arguments:**

    - `shapes`: C_l x h x w of each.
    """

    shapes: tuple[tuple[int, ...], ...]

    @property
    def nbytes(self) -> int:
        """Of an image."""
        return sum(2 * math.prod(shape) for shape in self.shapes)

    def pack(self, features: Sequence[Tensor]) -> np.ndarray:
        """Features of n images → uint8, n x bytes."""
        flat = [one.to(torch.bfloat16).movedim(1, -1).contiguous().flatten(1).view(torch.uint8) for one in features]
        return torch.cat(flat, 1).numpy()

    def unpack(self, rows: UInt8[Tensor, "n bytes"]) -> list[Tensor]:
        """What `pack` made → bfloat16, n x C_l x h x w; bytes beyond it are not looked at."""
        found, first = [], 0
        for channels, *sides in self.shapes:
            size = 2 * channels * math.prod(sides)
            values = rows[:, first : first + size].contiguous().view(torch.bfloat16)
            found.append(values.view(len(rows), *sides, channels).movedim(-1, 1))
            first += size
        return found


def parts_of(variants: Variants, layout: Layout, glass: bool) -> list[Part]:
    """What is kept of them, what matters most first: one version of every patch, composites, other versions."""
    height, width = variants.patches.shape
    patches = [Part(f"{_PATCHES}{v}", len(variants.patches), layout.nbytes) for v in range(variants.versions)]
    composites = Part(_pool(variants, glass), variants.number, layout.nbytes + height * width)  # with their masks
    return [patches[0], *([composites] if variants.number else []), *patches[1:]]


def _pool(variants: Variants, glass: bool) -> str:
    """The part of composites, by what sets them apart: methods and settings share the parts of patches."""
    most = 0 if variants.composites is None else variants.composites.most
    return f"composites-{most}{'-glass' if glass else ''}"


class KeptBatches(Dataset[dict[str, Tensor]]):
    """Whole batches as `lpdseg.model.encoded` describes them, with labels, and masks where they are asked for.

    **Arguments:**

    - `store`: has all items that it has room for.
    - `pixels`: whether anybody looks at the pixels of patches.
    - `adapter`: whether the encoder's adapter looks at all images.
    - `glass`: whether glass is left out of the masks of composites.

    **Attributes:**

    - `there`: by part, the rows of a device's memory that hold its items, from the first item on; None: all are
      given here. See `lpdseg.training.kept_on_device`.
    """

    there: Mapping[str, range] | None = None

    def __init__(
        self, variants: Variants, layout: Layout, store: FeatureStore, *, pixels: bool, adapter: bool, glass: bool
    ) -> None:
        self.variants, self.layout, self.store = variants, layout, store
        self.pixels, self.adapter, self.glass = pixels or adapter, adapter, glass
        self._pool = _pool(variants, glass)

    @property
    def patches(self) -> TrainingPatches:
        """The patches that they are made of."""
        return self.variants.patches

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.patches)

    def made(self, block: Block, pool: Executor) -> tuple[Tensor, Tensor | None]:
        """The images of a block that is to be filled, uint8, n x 3 x H x W; and masks where they are composites."""
        if block.part == self._pool:
            images, masks = zip(*pool.map(self._composite, block.items), strict=True)
            return torch.stack(images), torch.stack(masks)
        version = int(block.part.removeprefix(_PATCHES))
        patches = pool.map(lambda item: self.variants.patch(item, version)["image"], block.items)
        return torch.stack(list(patches)), None

    def __getitem__(self, draws: list[Draw]) -> dict[str, Tensor]:
        """Hangs on the training's seed and the draws as `TrainingBatches` does."""
        versions = [self.variants.version(draw) for draw in draws]
        places = [(f"{_PATCHES}{version}", draw.index) for version, draw in zip(versions, draws, strict=True)]
        samples = [
            self.variants.patch(draw.index, version, self.pixels or not self.store.holds(*place))
            for draw, version, place in zip(draws, versions, places, strict=True)
        ]
        batch = self._images("image", places, [one.pop("image") for one in samples], self.pixels)
        batch |= {name: torch.stack([one[name] for one in samples]) for name in samples[0]}
        if self.variants.number == 0:
            return batch
        beside = [draw for draw in draws if draw.place % self.variants.every == 0]
        places = [(self._pool, self.variants.choice(draw)) for draw in beside]
        composites = [self._composite_at(place) for place in places]
        batch |= self._images("composite", places, [image for image, _ in composites], self.adapter)
        masks = [mask for _, mask in composites]
        rows = [self.variants.sources(number) for _, number in places]
        if not masks:
            assert self.variants.composites is not None
            rows = [torch.empty((0, self.variants.composites.count), dtype=torch.long)]
            masks = [torch.empty((0, *self.patches.shape), dtype=torch.uint8)]
            return batch | {"composite_mask": masks[0], "composite_source": rows[0]}
        return batch | {"composite_mask": torch.stack(masks), "composite_source": torch.stack(rows)}

    def _images(
        self, name: str, places: Sequence[Place], images: Sequence[Tensor], shown: bool
    ) -> dict[str, Tensor]:
        """The entries of a batch under `name`; images that are kept have no channels unless they are `shown`."""
        kept = [self.store.holds(*place) for place in places]
        fresh = [image for image, held in zip(images, kept, strict=True) if not held]
        height, width = self.patches.shape
        bare = torch.empty((len(images), 0, height, width), dtype=torch.uint8)
        found = {
            name: torch.stack(list(images)) if images and shown else bare,
            f"{name}.kept": torch.tensor(kept, dtype=torch.bool),
            f"{name}.fresh": torch.stack(fresh) if fresh else bare.new_empty((0, 3, height, width)),
        }
        return found | self._kept(name, [place for place, held in zip(places, kept, strict=True) if held])

    def _kept(self, name: str, places: Sequence[Place]) -> dict[str, Tensor]:
        """What is kept for images under `name`, or of those that a device holds the rows alone."""
        there = self.there or {}
        rows = [there[part][item] if part in there and item < len(there[part]) else -1 for part, item in places]
        missing = [number for number, row in enumerate(rows) if row < 0]
        sent = torch.empty((len(missing), self.layout.nbytes), dtype=torch.uint8)
        for values, number in zip(sent.numpy(), missing, strict=True):
            part, item = places[number]
            values[:] = self.store.rows(part)[item][: self.layout.nbytes]
        if self.there is None:
            features = self.layout.unpack(sent)
            return {f"{name}.{level}": values for level, values in enumerate(features)}
        return {
            f"{name}.rows": torch.tensor(rows, dtype=torch.long).clamp(min=0),
            f"{name}.places": torch.tensor(missing, dtype=torch.long),
            f"{name}.sent": sent,
        }

    def _composite_at(self, place: Place) -> tuple[Tensor, Tensor]:
        """A composite and its mask; the image without channels where nobody looks at it."""
        part, number = place
        if self.adapter or not self.store.holds(part, number):
            return self._composite(number)
        mask = np.array(self.store.rows(part)[number][self.layout.nbytes :]).reshape(self.patches.shape)
        return torch.empty((0, *mask.shape), dtype=torch.uint8), torch.from_numpy(mask)

    def _composite(self, number: int) -> tuple[Tensor, Tensor]:
        image, mask = self.variants.composite(number)
        if self.glass:
            glass = glass_share(as_pixels(image[None]))[0, 0, : mask.shape[0], : mask.shape[1]] > 0.5
            mask = mask.masked_fill(glass, IGNORE)
        return image, mask

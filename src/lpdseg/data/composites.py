"""Composite patches: regions of patches that show one class alone, put together with the mask that follows from it.

A patch whose image-level label names a single class is that class wherever it is tissue. Two or three of them, cut
along random smooth borders, are an image of several classes whose mask is known, though nobody drew one. The idea
is that of HisynSeg (Fang et al. 2025, arXiv 2412.20924); the borders here are those of random fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from lpdseg.data.augment import apply_density_map, turned
from lpdseg.data.dataset import Draw, Stains, TrainingPatches, Variation
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError

_COMPOSITE = 4  # first word of the seed: another stream than those of order, variation and image bank
_CELLS = (3, 6)
"""Fewest and most cells along a side of the random fields: a region is about a side divided by this wide."""
_TILT = 0.5
"""Spread of what is added to a whole field, against 1 of its cells: how unequal the areas of the sources are."""


def alone(records: Sequence[PatchRecord]) -> dict[int, list[int]]:
    """By class: which of the patches show it and no other class, as their labels say."""
    found: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        if record.labels is not None and sum(record.labels) == 1:
            found.setdefault(record.labels.index(1), []).append(index)
    return found


@dataclass(frozen=True)
class Recipe:
    """All that is drawn for a composite before its pixels are made.

    - `classes`: of each source, uint8.
    - `patches`: the sources, turned.
    - `fields`: see `draw_fields`; one for each source.
    - `stains`: map of the densities of the whole; None leaves them as they are.
    - `row`: int64, C, by class the index of its source; −1: no such class.
    """

    classes: UInt8[np.ndarray, " number"]
    patches: list[Variation]
    fields: Float[np.ndarray, "number cells cells"]
    stains: Stains | None
    row: Int[np.ndarray, " C"]


class Composites:
    """Draws composites from the patches that have one class.

    **Arguments:**

    - `sources`: most patches in a composite, each of another class; at least two.

    **Raises:** `DataError` where fewer than two classes stand alone in a patch.
    """

    def __init__(self, patches: TrainingPatches, sources: int) -> None:
        self.patches = patches
        self.alone = {c: np.array(found) for c, found in alone(patches.records).items()}
        if len(self.alone) < 2:
            raise DataError("composites need training patches that show one class alone, of at least two classes")
        self.classes = np.array(sorted(self.alone), np.uint8)
        self.most = min(sources, len(self.alone))
        self.count = len(patches.records[0].labels or ())

    def sources(self, rng: np.random.Generator) -> dict[int, int]:
        """What a composite is made of, drawn before its pixels: a patch for each class, by index."""
        number = int(rng.integers(2, self.most + 1))
        return {int(c): int(rng.choice(self.alone[int(c)])) for c in rng.permutation(self.classes)[:number]}

    def draw(self, rng: np.random.Generator) -> Recipe:
        """What one composite is made of."""
        sources = self.sources(rng)
        patches = [Variation(index, self.patches.turn(rng), None) for index in sources.values()]
        fields = draw_fields(len(sources), rng)
        row = np.full(self.count, -1)
        row[list(sources)] = list(sources.values())
        return Recipe(np.array(list(sources), np.uint8), patches, fields, self.patches.stains(rng), row)

    def rows(self, recipes: Sequence[Recipe]) -> Int[Tensor, "n C"]:
        """Their sources, int64, n x C."""
        return torch.from_numpy(np.array([one.row for one in recipes], np.int64).reshape(-1, self.count))

    def make(self, recipe: Recipe) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
        """One composite, with the class of each pixel; glass is part of the patch that it came with."""
        patches = [turned(self.patches.plain(one.index), one.turn) for one in recipe.patches]
        owner = regions(recipe.fields, patches[0].shape[:2])
        image = join_regions(patches, owner)
        image = image if recipe.stains is None else apply_density_map(image, recipe.stains)
        return image, recipe.classes[owner]


def draw_fields(number: int, rng: np.random.Generator) -> Float[np.ndarray, "number cells cells"]:
    """As many random fields, float32, of a random number of cells."""
    cells = int(rng.integers(_CELLS[0], _CELLS[1] + 1))
    fields: np.ndarray = rng.standard_normal((number, cells, cells)) + _TILT * rng.standard_normal((number, 1, 1))
    return fields.astype(np.float32)


def regions(fields: Float[np.ndarray, "number cells cells"], size: tuple[int, int]) -> Int[np.ndarray, "H W"]:
    """Which of the fields is the highest, int64, once they are smooth ones of H x W."""
    smooth = F.interpolate(torch.from_numpy(fields)[None], size=size, mode="bicubic", align_corners=False)
    owner: np.ndarray = smooth[0].max(0).indices.numpy()  # argmax takes 25 times longer on CPUs
    return owner


def join_regions(patches: Sequence[UInt8[np.ndarray, "H W 3"]], owner: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """Each pixel from the patch that owns it, mixed over the 3 x 3 px around it, so that no cut is a hard edge."""
    shares = torch.stack([torch.from_numpy(owner == index).float() for index in range(len(patches))])
    shares = F.avg_pool2d(shares[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    pixels: Float[np.ndarray, "H W 3"] = np.zeros((*owner.shape, 3), np.float32)
    for patch, share in zip(patches, shares.numpy(), strict=True):
        pixels += patch * share[..., None]
    image: np.ndarray = np.rint(pixels).astype(np.uint8)
    return image


class TrainingBatches(Dataset[dict[str, Tensor]]):
    """Whole batches of training patches, with composites beside them where they are asked for.

    **Arguments:**

    - `composites`: where composites come from; None for none.
    - `every`: one composite for so many patches of a batch.
    """

    def __init__(self, patches: TrainingPatches, composites: Composites | None = None, every: int = 2) -> None:
        self.patches, self.composites, self.every = patches, composites, every

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.patches)

    def __getitem__(self, draws: list[Draw]) -> dict[str, Tensor]:
        """What `TrainingPatches` gives, stacked; with composites, n of them as well:

        - `composite`: uint8, n x 3 x H x W, RGB.
        - `composite_mask`: uint8, n x H x W, the class of each pixel.
        - `composite_source`: int64, n x C, by class the index of the patch that it was cut from; −1: none.

        A composite hangs on the seed and on the patch beside which it is drawn, and which patches have one on their
        place in the global batch: any number of processes sees the same ones. A process may get none.
        """
        batch: dict[str, Tensor] = default_collate([self.patches[draw] for draw in draws])
        if self.composites is None:
            return batch
        image, recipes = batch["image"], self.recipes(draws)
        made = [self.composites.make(recipe) for recipe in recipes]
        composites = np.stack([one.transpose(2, 0, 1) for one, _ in made]) if made else image[:0].numpy()
        masks = np.stack([one for _, one in made]) if made else image[:0, 0].numpy()
        return batch | {
            "composite": torch.from_numpy(composites),
            "composite_mask": torch.from_numpy(masks),
            "composite_source": self.composites.rows(recipes),
        }

    def recipes(self, draws: list[Draw]) -> list[Recipe]:
        """The composites beside a batch."""
        if self.composites is None:
            return []
        return [
            self.composites.draw(np.random.default_rng((_COMPOSITE, self.patches.seed, draw.epoch, draw.index)))
            for draw in draws
            if draw.place % self.every == 0
        ]

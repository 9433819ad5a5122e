"""A fixed number of versions of every patch, and a fixed number of composites: what a frozen encoder sees of a run.

All of them are pure functions of the data and the settings of their variation, not of the training's seed. So what
an encoder makes of them can be kept, and is shared by runs that differ in what stands on it.
"""

import math

import numpy as np
import torch
from torch import Tensor

from lpdseg.data.augment import orientation, orientations
from lpdseg.data.composites import Composites
from lpdseg.data.dataset import Draw, TrainingPatches, Variation

_ORIENTATIONS, _STAIN, _POOL, _VERSION, _CHOICE = 5, 6, 7, 8, 9  # first words of seeds: streams of their own
_MOST = 8
_FEWEST_COMPOSITES = 512
"""Composites of data sets that have fewer patches."""


class Variants:
    """Which versions there are, and which of them a place of the training order sees.

    Version v of a patch has one of its orientations, and where stains vary one strength of them, drawn once. There
    are as many as orientations, or eight where stains vary, and no more than a run has epochs. Composites are as
    many as patches, 512 at least, and no more than a run draws.

    **Arguments:**

    - `composites`: where they come from; None for none.
    - `every`: one composite for so many patches.

    **Attributes:**

    - `versions`: of each patch.
    - `number`: of composites.
    """

    def __init__(self, patches: TrainingPatches, composites: Composites | None, every: int, epochs: float) -> None:
        self.patches, self.composites, self.every = patches, composites, every
        self.orientations = orientations(patches.shape) if patches.flips else 1
        most = _MOST if patches.jitter > 0 else self.orientations
        self.versions = max(1, min(most, math.ceil(epochs)))
        drawn = math.ceil(epochs * len(patches) / every)
        self.number = 0 if composites is None else max(1, min(drawn, max(len(patches), _FEWEST_COMPOSITES)))

    def version(self, draw: Draw) -> int:
        """Which version of its patch a draw sees: each of them once before any comes again."""
        turn, place = divmod(draw.epoch, self.versions)
        rng = np.random.default_rng((_VERSION, self.patches.seed, turn, draw.index))
        return int(rng.permutation(self.versions)[place])

    def choice(self, draw: Draw) -> int:
        """Which composite stands beside a draw."""
        rng = np.random.default_rng((_CHOICE, self.patches.seed, draw.epoch, draw.index))
        return int(rng.integers(self.number))

    def patch(self, index: int, version: int, pixels: bool = True) -> dict[str, Tensor]:
        """One version of a patch as `TrainingPatches.varied` gives it."""
        turn = 0
        if self.patches.flips:
            order = np.random.default_rng((_ORIENTATIONS, index)).permutation(self.orientations)
            turn = orientation(int(order[version % self.orientations]), self.patches.shape)
        stains = self.patches.stains(np.random.default_rng((_STAIN, index, version)))
        return self.patches.varied(Variation(index, turn, stains), pixels)

    def composite(self, number: int) -> tuple[Tensor, Tensor]:
        """One composite, uint8, 3 x H x W, RGB; and the class of each pixel, uint8, H x W."""
        assert self.composites is not None
        image, mask = self.composites.make(self.composites.draw(np.random.default_rng((_POOL, number))))
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(mask)

    def sources(self, number: int) -> Tensor:
        """The patches that a composite was cut from, by class, see `Recipe.row`: int64, C."""
        assert self.composites is not None
        return torch.from_numpy(self.composites.draw(np.random.default_rng((_POOL, number))).row)

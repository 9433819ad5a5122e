"""Corrected patches as they are learnt from: some beside every batch, drawn from all of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from lpdseg.data.corrected import CorrectedPatch
from lpdseg.data.dataset import Draw, TrainingPatches, Variation
from lpdseg.data.geometry import fit_image, fit_mask
from lpdseg.data.patches import read_image
from lpdseg.tissue import TissueClasses

_CORRECTED = 5  # first word of the seed: another stream than those of order, variation, image bank and composites


class CorrectedPatches(TrainingPatches):
    """Corrected patches of all splits, with the class of each corrected pixel as their mask.

    **Arguments:**

    - `beside`: the training patches, whose size and variation they take.
    """

    def __init__(self, found: Sequence[CorrectedPatch], beside: TrainingPatches) -> None:
        records = [replace(one.record, labels=one.record.labels or (0,) * len(one.names)) for one in found]
        super().__init__(records, beside.seed, flips=beside.flips, jitter=beside.jitter, size=beside.shape)
        self.found, self.masks_of = list(found), TissueClasses(found[0].names)  # so that they have masks

    def pick(self, draw: Draw) -> Variation:
        """One of them, and how it is varied, at a place of the training order; all are drawn equally often."""
        rng = np.random.default_rng((_CORRECTED, self.seed, draw.epoch, draw.index))
        return Variation(int(rng.integers(len(self))), self.turn(rng), self.stains(rng))

    def _read(self, index: int) -> UInt8[np.ndarray, "H W L"]:
        one, size = self.found[index], self.size
        assert size is not None
        image = read_image(one.record.path)
        mask = one.mask((image.shape[0], image.shape[1]))
        return np.dstack([fit_image(image, size, self.flips), fit_mask(mask, size, self.flips)])


class CorrectedBatches(Dataset[dict[str, Any]]):
    """Batches with corrected patches beside them.

    **Arguments:**

    - `batches`: any that training knows, asked for by draws.
    - `every`: one corrected patch for so many patches of a batch.
    """

    def __init__(self, batches: Any, corrected: CorrectedPatches, every: int) -> None:
        self.batches, self.corrected, self.every = batches, corrected, every

    @property
    def patches(self) -> TrainingPatches:
        """The patches that the batches are made of."""
        return self.batches.patches  # type: ignore[no-any-return]

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.batches)

    def __getitem__(self, draws: list[Draw]) -> dict[str, Any]:
        """The batch, with m more images, which a process may have none of:

        - `corrected`: uint8, m x 3 x H x W, RGB.
        - `corrected_mask`: uint8, m x H x W, the class of each corrected pixel, `IGNORE` elsewhere.

        They hang on the seed and the patches beside which they are drawn, as composites do.
        """
        picked = [self.corrected.pick(draw) for draw in draws if draw.place % self.every == 0]
        made = [self.corrected.varied(one) for one in picked]
        height, width = self.corrected.shape
        images = [one["image"] for one in made]
        masks = [one["mask"] for one in made]
        batch: dict[str, Any] = self.batches[draws]
        return batch | {
            "corrected": torch.stack(images) if made else torch.empty((0, 3, height, width), dtype=torch.uint8),
            "corrected_mask": torch.stack(masks) if made else torch.empty((0, height, width), dtype=torch.uint8),
        }


def taken_along(batch: dict[str, Any]) -> dict[str, Tensor]:
    """What a batch has of corrected patches."""
    return {name: value for name, value in batch.items() if name.startswith("corrected")}

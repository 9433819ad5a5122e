"""Patches that are shown: some of many, segmented.

B images, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from lpdseg.data.records import PatchRecord
from lpdseg.evaluation.split import read_labelled
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import IGNORE, TissueClasses


@dataclass(frozen=True)
class Patch:
    """A patch of the split, segmented.

    - `truth`, `mask`: internal indices.
    - `accuracy`: the share of counted pixels that are right.
    """

    record: PatchRecord
    image: UInt8[np.ndarray, "H W 3"]
    truth: UInt8[np.ndarray, "H W"]
    mask: UInt8[np.ndarray, "H W"]
    accuracy: float

    def shares(self, channels: int) -> Float[np.ndarray, " n"]:
        """The share of the true mask that each channel covers."""
        shares: Float[np.ndarray, " n"] = (
            np.bincount(self.truth.ravel(), minlength=256)[:channels] / self.truth.size
        )
        return shares


def draw(records: Sequence[PatchRecord], most: int | None, seed: int) -> list[PatchRecord]:
    """At most `most` of the patches, drawn at random where there are more, in their own order."""
    if most is None or len(records) <= most:
        return list(records)
    drawn = np.random.default_rng(seed).choice(len(records), most, replace=False)
    return [records[index] for index in sorted(drawn.tolist())]


def segmented(
    segmenter: Segmenter, records: Sequence[PatchRecord], classes: TissueClasses, split: str
) -> list[Patch]:
    """Segments patches, in their order; those whose masks leave out every pixel are passed over.

    **Arguments:**

    - `classes`: of the masks.

    **Raises:** as `read_labelled`; `CheckpointError` as `check_computed`.
    """
    patches: list[Patch] = []
    order = iter(records)  # batches keep the order of the records
    for batch in read_labelled(records, classes, segmenter.settings.batch, split):
        labels = batch.labels(len(segmenter.classes))
        found = segmenter.decide(segmenter.observe(batch.images), batch.images, labels).computed()
        masks = found.mask.cpu().numpy()
        images = batch.images.permute(0, 2, 3, 1).numpy()
        for image, truth, mask in zip(images, batch.masks, masks, strict=True):
            record, counted = next(order), truth != IGNORE
            if counted.any():
                patches.append(Patch(record, image, truth, mask, float((truth == mask)[counted].mean())))
    return patches


def main_class(patch: Patch, classes: int) -> int:
    """The tissue class that covers most of the truth."""
    return int(patch.shares(classes).argmax())

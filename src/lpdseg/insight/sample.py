"""Which patches a report shows: a sample of the split is segmented, and patches of all qualities are taken from it.

B images, C classes, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation.split import read_labelled
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import IGNORE, TissueClasses

_MOST = 120
_SMALLEST_SHARE = 0.05
"""A class counts as shown in a patch from this share of the pixels on, as in the labels of the data sets."""


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


@dataclass(frozen=True)
class Choice:
    """A patch and why it was chosen, such as `best` or `rank 12 of 60`."""

    patch: Patch
    reason: str


@dataclass(frozen=True)
class Sample:
    """The patches that were segmented, of how many, and those among them worth ranking.

    - `ranked`: from best to worst; patches of two tissues or more where there are enough, for a patch of one
      tissue is right or wrong as a whole and shows little.
    - `mixed`: whether `ranked` was narrowed so.
    """

    patches: tuple[Patch, ...]
    available: int
    ranked: tuple[Patch, ...]
    mixed: bool


def with_masks(records: Sequence[PatchRecord]) -> list[PatchRecord]:
    """The patches whose truth is known."""
    return [record for record in records if record.mask is not None]


def draw(records: Sequence[PatchRecord], most: int | None, seed: int) -> list[PatchRecord]:
    """At most `most` of the patches, drawn at random where there are more, in their own order."""
    if most is None or len(records) <= most:
        return list(records)
    drawn = np.random.default_rng(seed).choice(len(records), most, replace=False)
    return [records[index] for index in sorted(drawn.tolist())]


def segment_sample(
    segmenter: Segmenter, data: Manifest, split: str, seed: int, needed: int, most: int = _MOST
) -> Sample:
    """Segments at most `most` patches that have masks, drawn at random where there are more.

    Masks are read by the data's own values, which need not be those of the run.

    **Raises:** `DataError` where no patch has a mask, or `read_labelled` fails.
    """
    usable = with_masks(segmenter.learnt.leave_out(data, split)[0].split(split))
    patches = segmented(segmenter, draw(usable, most, seed), data.classes, split)
    if not patches:
        raise DataError(f"the masks of the split {split!r} leave out every pixel, so there is nothing to show")
    channels = segmenter.classes.channels
    mixed = [patch for patch in patches if (patch.shares(channels) >= _SMALLEST_SHARE).sum() >= 2]
    narrowed = needed <= len(mixed) < len(patches)
    ranked = sorted(mixed if narrowed else patches, key=lambda patch: -patch.accuracy)
    return Sample(tuple(patches), len(usable), tuple(ranked), narrowed)


def segmented(
    segmenter: Segmenter, records: Sequence[PatchRecord], classes: TissueClasses, split: str
) -> list[Patch]:
    """Segments patches, in their order; those whose masks leave out every pixel are passed over.

    **Arguments:**

    - `classes`: of the masks.

    **Raises:** as `read_labelled`.
    """
    patches: list[Patch] = []
    order = iter(records)  # batches keep the order of the records
    for batch in read_labelled(records, classes, segmenter.settings.batch, split):
        labels = batch.labels(len(segmenter.classes))
        masks = segmenter.decide(segmenter.observe(batch.images), batch.images, labels).mask.cpu().numpy()
        images = batch.images.permute(0, 2, 3, 1).numpy()
        for image, truth, mask in zip(images, batch.masks, masks, strict=True):
            record, counted = next(order), truth != IGNORE
            if counted.any():
                patches.append(Patch(record, image, truth, mask, float((truth == mask)[counted].mean())))
    return patches


def spread(sample: Sample, count: int) -> tuple[Choice, ...]:
    """Takes `count` patches at even ranks: from the best over the median to the worst.

    With fewer than three patches the best comes first, then the worst.
    """
    number = len(sample.ranked)
    count = min(count, number)
    middle = (count - 1) // 2
    # Through whole ranks at both ends and the median, so that no patch is taken twice.
    marks = {0: 0, middle: (number - 1) // 2, count - 1: number - 1} if count >= 3 else {0: 0, 1: number - 1}
    ranks = np.interp(np.arange(count), list(marks), list(marks.values())).round().astype(int).tolist()
    names = {0: "best", count - 1: "worst"} if count > 1 else {0: "best"}
    if count >= 3:
        names[middle] = "median"
    return tuple(
        Choice(sample.ranked[rank], names.get(index, f"rank {rank + 1} of {number}"))
        for index, rank in enumerate(ranks)
    )


def main_class(patch: Patch, classes: int) -> int:
    """The tissue class that covers most of the truth."""
    return int(patch.shares(classes).argmax())

"""What edits of prototypes mean for training patches: other labels, or no part in the training.

B patches of one size, H x W pixels; K prototypes in all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Int, UInt8

from lpdseg.data.patches import read_patch
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.errors import DataError
from lpdseg.segmenting.edits import Plan
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.training.progress import Reporter
from lpdseg.training.setup import Pace

Labels = tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """What becomes of a training patch.

    - `labels`: its new ones; None: it is left out.
    - `prototype`: for whose sake.
    """

    labels: Labels | None
    prototype: int


def find_changes(segmenter: Segmenter, plan: Plan, data: Manifest, reporter: Reporter) -> dict[str, Change]:
    """The training patches that edits change, by path below the data's folder.

    For each class that a patch's label names that prototype speaks which wins most of its pixels, as the map of
    prototypes shows them where the mask may show the label's classes alone. Where it was moved, the label names the
    other class instead; where it was hidden, or moved to background, the patch is left out.

    **Arguments:**

    - `segmenter`: without edits.

    **Raises:** `DataError` for a patch that cannot be read.
    """
    touched = {plan.trained[k] for k, now in enumerate(_becomes(plan)) if now != plan.trained[k]}
    records = [
        record
        for record in data.split("train")
        if any(held and c in touched for c, held in enumerate(record.labels or ()))
    ]
    shown = segmenter.with_settings(gate="oracle", refine="none")
    pace, done, found = Pace(reporter, "looking for what was moved", "patches"), 0, dict[str, Change]()
    for chunk, images in image_batches(records, shown.settings.batch):
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        labels = torch.tensor([record.labels for record in chunk]).bool()
        prototypes = shown.decide(shown.observe(batch, parts=True), batch, labels).prototypes
        assert prototypes is not None, "masks that prototypes make have a map of them"
        for record, winners in zip(chunk, prototypes.cpu().numpy(), strict=True):
            pixels = np.bincount(winners.ravel(), minlength=len(plan.trained))[: len(plan.trained)]
            change = _change(record.labels or (), pixels, plan)
            if change is not None:
                found[path_below(record.path, data.root)] = change
        done += len(chunk)
        pace.tell(done, len(records))
    return found


def with_labels(data: Manifest, labels: Mapping[str, Labels | None]) -> Manifest:
    """The data set with other labels of some training patches, by path below its folder; None leaves one out."""
    records = []
    for record in data.records:
        name = path_below(record.path, data.root)
        if record.split != "train" or name not in labels:
            records.append(record)
        elif (changed := labels[name]) is not None:
            if len(changed) != len(data.classes):
                raise DataError(f"the run's labels of {name} are not of {len(data.classes)} classes; train again")
            records.append(replace(record, labels=changed))
    return replace(data, records=tuple(records))


def _becomes(plan: Plan) -> list[int]:
    """K; the class that each prototype counts for, −1 where that is none."""
    classes = max(plan.trained) + 1
    gone = set(plan.hidden)
    return [-1 if k in gone or now >= classes else now for k, now in enumerate(plan.target)]


def _change(labels: Labels, pixels: Int[np.ndarray, " K"], plan: Plan) -> Change | None:
    """`pixels` are how many each prototype wins."""
    becomes, trained = _becomes(plan), np.array(plan.trained)
    changed, prototype = list(labels), -1
    for c, held in enumerate(labels):
        own = np.where(trained == c, pixels, 0)
        if not held or not own.any():
            continue
        k = int(own.argmax())
        if becomes[k] < 0:
            return Change(None, k)
        if becomes[k] != c:
            changed[c], prototype = 0, k
    for c, held in enumerate(labels):
        own = np.where(trained == c, pixels, 0)
        if held and own.any():
            changed[becomes[int(own.argmax())]] = 1
    return None if prototype < 0 else Change(tuple(changed), prototype)


def image_batches(
    records: Sequence[PatchRecord], most: int
) -> Iterator[tuple[list[PatchRecord], UInt8[np.ndarray, "B H W 3"]]]:
    """Neighbours of one size, read and stacked."""
    read = ((record, read_patch(record.path)) for record in records)
    for _, group in groupby(read, key=lambda pair: pair[1].shape):
        held: list[tuple[PatchRecord, np.ndarray]] = []
        for pair in group:
            held.append(pair)
            if len(held) == most:
                yield [one for one, _ in held], np.stack([image for _, image in held])
                held = []
        if held:
            yield [one for one, _ in held], np.stack([image for _, image in held])

"""Scoring a segmenter on a split: one pass of the network, then every gate and background rule from it.

N patches of the split, C classes, n channels (background last).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from lpdseg.choices import Background
from lpdseg.cores import allowed_cores
from lpdseg.data.mask_values import MaskPixels, misread
from lpdseg.data.patches import check_patch, read_mask, read_patch
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation.confusion import sum_by_patient
from lpdseg.evaluation.counts import confusion_matrices, count_pairs
from lpdseg.evaluation.image_level import choose_thresholds, score_images
from lpdseg.evaluation.protocol import About, Protocol, Record, record
from lpdseg.evaluation.reliability import Reported, described, fit_temperature, reported_step
from lpdseg.segmenting.memory import at_once
from lpdseg.segmenting.prediction import check_computed
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.tissue import IGNORE, TissueClasses

Progress = Callable[[int, int], None]

_AHEAD = 4
"""Batches that are read at once."""


@dataclass(frozen=True)
class LabelledBatch:
    """Patches of one size: RGB, masks in internal numbering, and whose they are."""

    images: UInt8[Tensor, "B 3 H W"]
    masks: UInt8[np.ndarray, "B H W"]
    patients: tuple[str, ...]

    @cached_property
    def truth(self) -> UInt8[Tensor, "B H W"]:
        """The masks as a tensor."""
        return torch.from_numpy(self.masks)

    @cached_property
    def pixels(self) -> tuple[MaskPixels, ...]:
        """What each mask holds, counted once."""
        return tuple(MaskPixels.of(mask) for mask in self.masks)

    def labels(self, classes: int) -> Bool[Tensor, "B C"]:
        """The classes that the masks hold: what the oracle gate sees."""
        return torch.from_numpy(np.array([held.counts[:classes] > 0 for held in self.pixels]))

    def placed(self, images: UInt8[Tensor, "B 3 H W"], truth: UInt8[Tensor, "B H W"]) -> "LabelledBatch":
        """The same with copies of images and truth that lie elsewhere."""
        other = replace(self, images=images)
        vars(other).update(truth=truth, pixels=self.pixels)
        return other


def there(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels where the model is; from pinned memory they are sent while the host goes on."""
    return pixels.to(device, non_blocking=device.type == "cuda" and pixels.is_pinned())


def read_labelled(
    records: Sequence[PatchRecord],
    classes: TissueClasses,
    batch: int,
    split: str,
    kept: dict[Path, np.ndarray] | None = None,
) -> list[LabelledBatch]:
    """Reads the patches of a split that have masks, in batches of equal size.

    `kept` are pixels by path that were decoded before, see `lpdseg.data.reading`; they are taken out.

    **Raises:** `DataError` where none has a mask, a file cannot be read, a patch is too large, which headers tell
    before any is decoded (see `read_patch`), or values must mean something else, see `misread`.
    """
    usable = [entry for entry in records if entry.mask is not None]
    if not usable:
        raise DataError(f"no patch of the split {split!r} has a mask, so masks cannot be scored; add masks")
    kept = kept or {}
    with ThreadPoolExecutor(allowed_cores()) as pool:
        list(pool.map(check_patch, [entry.path for entry in usable if entry.path not in kept]))
    batches = list(_batches(usable, classes, batch, kept))
    pixels = MaskPixels.sum([held for part in batches for held in part.pixels])
    fault = misread(classes, pixels, split)
    if fault is not None:
        raise DataError(fault)
    return batches


def labelled_batches(records: Sequence[PatchRecord], classes: TissueClasses, batch: int) -> Iterator[LabelledBatch]:
    """Patches in their order, in batches of equal size, read one after another: a split of any size fits in memory.

    Where a patch has no mask, truth is `IGNORE` everywhere.

    **Raises:** `DataError` where a file cannot be read.
    """
    for first in range(0, len(records), _AHEAD * batch):
        yield from _batches(records[first : first + _AHEAD * batch], classes, batch, {})


@dataclass(frozen=True)
class ObservedSplit:
    """A split as the network saw it, before any gate."""

    batches: tuple[LabelledBatch, ...]
    evidence: tuple[Evidence, ...]
    probabilities: Float[np.ndarray, "N C"]
    truth: Bool[np.ndarray, "N C"]

    def thresholds(self) -> Float[np.ndarray, " C"]:
        """The image-level thresholds of maximal F1 on this split."""
        return choose_thresholds(self.probabilities, self.truth.astype(np.int64))


def observe_split(
    segmenter: Segmenter, batches: Sequence[LabelledBatch], progress: Progress | None = None
) -> ObservedSplit:
    """Runs the network once over the split.

    **Raises:** `CheckpointError` as `check_computed`.
    """
    evidence = []
    for done, batch in enumerate(batches):
        evidence.append(segmenter.observe(there(batch.images, segmenter.device)))
        if progress is not None:
            progress(done + 1, len(batches))
    classes = len(segmenter.classes)
    probabilities = torch.cat([part.probabilities for part in evidence]).float().cpu().numpy()
    check_computed(probabilities)
    return ObservedSplit(
        batches=tuple(batches),
        evidence=tuple(evidence),
        probabilities=probabilities,
        truth=torch.cat([batch.labels(classes) for batch in batches]).numpy(),
    )


def score_split(
    segmenter: Segmenter,
    observed: ObservedSplit,
    split: str,
    backgrounds: Sequence[Background] = ("keep",),
    progress: Progress | None = None,
    about: About | None = None,
    find_temperature: bool = False,
) -> list[Record]:
    """The record of the split under the segmenter's gate, once per background rule.

    The rules share the masks and differ in what counts; `about` and the segmenter's notes go into the records.
    `find_temperature` finds that of these very patches, see `fit_temperature`, in place of the segmenter's.
    """
    classes = segmenter.classes
    tables, reported = list[Tensor](), list[Reported]()
    step = reported_step(sum(batch.masks.size for batch in observed.batches))
    patients: list[str] = []
    device = segmenter.device
    labels = torch.from_numpy(observed.truth).to(device).split([len(batch.masks) for batch in observed.batches])
    parts = zip(observed.batches, observed.evidence, labels, strict=True)
    for done, (batch, evidence, held) in enumerate(parts):
        found = segmenter.decide(evidence, there(batch.images, device), held)
        mask, truth = found.mask, there(batch.truth, device)
        tables.append(count_pairs(truth, mask, classes.channels))
        reported.append(Reported.of(found.unrefined, truth, step))
        patients += batch.patients
        if progress is not None:
            progress(done + 1, len(observed.batches))
    names, by_patient = sum_by_patient(confusion_matrices(torch.cat(tables)), patients)
    thresholds = segmenter.calibration.thresholds.cpu().numpy()
    image_level = score_images(observed.probabilities, observed.truth.astype(np.int64), thresholds)
    calibration, said = segmenter.calibration, Reported.joined(reported)
    temperature = fit_temperature(said) if find_temperature else calibration.temperature
    offsets = calibration.offsets_data, dict(zip(classes.names, calibration.offsets.tolist(), strict=True))
    settings, known = segmenter.settings, about or About()
    about = replace(known, notes=(*known.notes, *segmenter.notes))
    return [
        record(
            Protocol(split, settings.gate, background, settings.refine, segmenter.edits_sha256, *offsets),
            classes,
            by_patient,
            len(patients),
            image_level,
            patients=names,
            about=about,
            reliability=described(said, temperature, classes.channels if background == "keep" else len(classes)),
        )
        for background in backgrounds
    ]


def _batches(
    records: Sequence[PatchRecord], classes: TissueClasses, batch: int, kept: dict[Path, np.ndarray]
) -> Iterator[LabelledBatch]:
    def read(entry: PatchRecord) -> tuple[np.ndarray, np.ndarray, str]:
        image = kept.pop(entry.path, None)
        mask = None if entry.mask is None else kept.pop(entry.mask, None)
        if image is None or mask is None:
            image = read_patch(entry.path)
            size = image.shape[:2]
            mask = np.full(size, IGNORE, np.uint8) if entry.mask is None else read_mask(entry.mask, classes, size)
        return image, mask, entry.patient

    with ThreadPoolExecutor(allowed_cores()) as pool:
        for (height, width, _), group in groupby(pool.map(read, records), key=lambda item: item[0].shape):
            while items := list(islice(group, at_once(height * width, batch))):
                yield _stack(items)


def _stack(items: list[tuple[np.ndarray, np.ndarray, str]]) -> LabelledBatch:
    images = np.stack([image.transpose(2, 0, 1) for image, _, _ in items])
    return LabelledBatch(
        torch.from_numpy(images),
        np.stack([mask for _, mask, _ in items]),
        tuple(patient for _, _, patient in items),
    )

"""Checking a data set before a model learns from it: every image and mask is decoded once."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from lpdseg.data.check_problems import count_sizes, find_problems
from lpdseg.data.check_report import CheckReport
from lpdseg.data.check_seen import SeenPatch, label_table, patches_alone, pixels_of
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.mask_values import MaskPixels
from lpdseg.data.patches import read_image, read_mask
from lpdseg.errors import DataError
from lpdseg.tissue import IGNORE, TissueClasses


def check_data(manifest: Manifest, *, workers: int, on_patch: Callable[[], None] | None = None) -> CheckReport:
    """Decodes every image and every mask that the manifest lists, and compares what they say with the manifest.

    **Arguments:**

    - `manifest`: the data set.
    - `workers`: how many threads decode at a time.
    - `on_patch`: called after each patch, in the calling thread; for a progress bar.

    **Returns:** the report; a damaged file is an entry in it and never raises.
    """
    seen: list[SeenPatch] = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for patch in pool.map(lambda record: _look(record, manifest.classes), manifest.records):
            seen.append(patch)
            if on_patch is not None:
                on_patch()
    splits = manifest.splits
    labels = {split: label_table(manifest, split) for split in splits}
    found = find_problems(manifest, seen)
    return CheckReport(
        source=str(manifest.source),
        classes=manifest.classes.names,
        patches={split: len(manifest.split(split)) for split in splits},
        patients={split: len({record.patient for record in manifest.split(split)}) for split in splits},
        masks={split: sum(record.mask is not None for record in manifest.split(split)) for split in splits},
        labels={split: tuple(table.sum(axis=0).tolist()) for split, table in labels.items()},
        unlabelled={split: sum(record.labels is None for record in manifest.split(split)) for split in splits},
        together=_together(labels.get("train")),
        alone=tuple(patches_alone(labels["train"]).tolist()) if "train" in labels else (),
        sizes=count_sizes(seen),
        mask_shares=_mask_shares(manifest, seen),
        notes=(*manifest.notes, *found.notes),
        errors=found.errors,
        warnings=found.warnings,
    )


def _look(record: PatchRecord, classes: TissueClasses) -> SeenPatch:
    """Decodes a patch and its mask."""
    seen = SeenPatch(record)
    try:
        image = read_image(record.path)
        seen = replace(seen, size=image.shape[:2])
        # Blank patches are alike everywhere and leak nothing.
        if (image != image[0, 0]).any():
            digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=str(image.shape).encode())
            seen = replace(seen, digest=digest.digest())
    except DataError as error:
        seen = replace(seen, image_error=error)
    if record.mask is None:
        return seen
    try:
        mask = read_mask(record.mask, classes)
        return replace(seen, mask_size=mask.shape, pixels=MaskPixels.of(mask))
    except DataError as error:
        return replace(seen, mask_error=error)


def _together(labels: Int[np.ndarray, "patches C"] | None) -> tuple[tuple[int, ...], ...]:
    """How many patches have both class i and class j, C x C; empty without training patches."""
    return () if labels is None else tuple(tuple(row) for row in (labels.T @ labels).tolist())


def _mask_shares(manifest: Manifest, seen: Sequence[SeenPatch]) -> dict[str, dict[str, float]]:
    """By split, the share of mask pixels of each class, of background, and of pixels to ignore."""
    names = (*manifest.classes.channel_names, "ignored")
    indices = [*range(manifest.classes.channels), IGNORE]
    shares: dict[str, dict[str, float]] = {}
    for split in manifest.splits:
        pixels = pixels_of(seen, split)
        if pixels is not None:
            total = pixels.counts
            shares[split] = dict(zip(names, (total[indices] / total.sum()).tolist(), strict=True))
    return shares

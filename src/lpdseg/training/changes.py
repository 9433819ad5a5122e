"""What corrections have changed: figures before and after on the same patients, and whose masks differ most.

n channels, P patients.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8

from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.evaluation.bootstrap import Estimate, paired_classes, paired_difference
from lpdseg.evaluation.confusion import Scores, confusion_matrix, sum_by_patient
from lpdseg.evaluation.split import read_labelled
from lpdseg.files import write_json
from lpdseg.segmenting.bundle import load_segmenter
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.training.regions import keep_regions
from lpdseg.training.relabel import image_batches
from lpdseg.training.start import FROM
from lpdseg.training.taught import Taught

CHANGES = "changes.json"
"""Of a run's folder, where it learnt corrections."""

_SHOWN = 10
"""Patients whose masks changed most."""


def look_back(run: Path, data: Manifest, device: str, taught: Taught) -> Iterator[str]:
    """What is done once a run has finished; gives sentences for people.

    Regions of prototypes are kept, and where the run has learnt corrections, what these have changed.
    """
    missing = keep_regions(run, data, device)
    if missing is not None:
        yield missing
    if taught.told is None:
        return
    try:
        before = Path(json.loads((run / FROM).read_text(encoding="utf-8"))["run"])
        old, new = (load_segmenter(one, "best", device, refine="none") for one in (before, run))
    except LpdsegError as error:
        yield f"what has changed cannot be told: {error}"
        return
    changes = measure_changes(old, new, data, {one.record.patient for one in taught.patches})
    write_json(run / CHANGES, {"from": str(before), **changes})
    yield from sentences(changes)


def measure_changes(old: Segmenter, new: Segmenter, data: Manifest, corrected: Iterable[str]) -> dict[str, Any]:
    """Both on the same patches, each as it is used, with its own thresholds and offsets.

    Figures are of the valid split, where it has masks, without whom `new` has learnt from. Masks are compared on
    its patients and on training patches of the patients `corrected`.

    **Returns:** plain values; figures are per cent, None where there are none:

    - `split`, `patients`, `notes`: of the figures.
    - `miou` and `classes`, by name: `before`, `after`, `difference`, and its 95 % `interval` over patients.
    - `changed`: patients by the share of pixels whose class has changed, the largest first: `patient`, `split`,
      `patches`, `share`.
    """
    pixels, other, count = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    def compare(split: str, patients: Sequence[str], masks: Sequence[np.ndarray]) -> None:
        for patient, before, after in zip(patients, *masks, strict=True):
            key = (patient, split)
            pixels[key] += before.size
            other[key] += int((before != after).sum())
            count[key] += 1

    found: dict[str, Any] = {"split": None, "patients": 0, "notes": [], "miou": None, "classes": {}}
    if data.with_masks("valid"):
        kept, note = new.learnt.leave_out(data, "valid")
        both, owners = [list[np.ndarray](), list[np.ndarray]()], list[str]()
        for batch in read_labelled(kept.split("valid"), data.classes, new.settings.batch, "valid"):
            masks = [_masks(one, batch.images) for one in (old, new)]
            for matrices, own in zip(both, masks, strict=True):
                pairs = zip(batch.masks, own, strict=True)
                matrices += [confusion_matrix(truth, mask, data.classes.channels) for truth, mask in pairs]
            owners += batch.patients
            compare("valid", batch.patients, masks)
        (names, before), (_, after) = (sum_by_patient(np.stack(one), owners) for one in both)
        found |= {"split": "valid", "patients": len(names), "notes": [note] if note else []}
        found |= _figures(before, after, data.classes.names)
    asked = set(corrected)
    records = [record for record in data.records if record.split == "train" and record.patient in asked]
    for chunk, images in image_batches(records, new.settings.batch):
        pictures = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        compare("train", [record.patient for record in chunk], [_masks(one, pictures) for one in (old, new)])
    most = sorted(pixels, key=lambda key: (-other[key] / pixels[key], key))[:_SHOWN]
    found["changed"] = [
        {"patient": key[0], "split": key[1], "patches": count[key], "share": _percent(other[key] / pixels[key])}
        for key in most
    ]
    return found


def read_changes(run: Path) -> dict[str, Any] | None:
    """What `look_back` found; None where nothing was corrected.

    **Raises:** `CheckpointError` for a file that cannot be read.
    """
    path = run / CHANGES
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return told
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); remove it, or train again") from error


def sentences(changes: dict[str, Any]) -> Iterator[str]:
    """What has changed, for people."""
    if changes["miou"] is None:
        yield "there are no valid masks, so nobody knows whether the corrections have made masks better"
    else:
        classes = ", ".join(f"{name} {_told(one)}" for name, one in changes["classes"].items())
        yield f"before and after, on {changes['patients']} valid patients: mIoU {_told(changes['miou'])}; {classes}"
    if changes["changed"]:
        most = ", ".join(f"{one['patient']} ({one['share']:.1f} %)" for one in changes["changed"][:3])
        yield f"masks have changed most for {most}; all figures are in {CHANGES}"


def _masks(segmenter: Segmenter, images: UInt8[torch.Tensor, "B 3 H W"]) -> UInt8[np.ndarray, "B H W"]:
    masks: np.ndarray = segmenter.decide(segmenter.observe(images), images).mask.cpu().numpy()
    return masks


def _figures(
    before: Int[np.ndarray, "P n n"], after: Int[np.ndarray, "P n n"], names: Sequence[str]
) -> dict[str, Any]:
    classes = len(names)
    old, new = (Scores.of(one.sum(0), classes) for one in (before, after))
    miou = paired_difference(after[None], before[None], classes)
    apart = paired_classes(after, before, classes)
    return {
        "miou": _pair(old.miou, new.miou, miou),
        "classes": {name: _pair(old.iou[c], new.iou[c], apart[c]) for c, name in enumerate(names)},
    }


def _pair(before: Any, after: Any, difference: Estimate) -> dict[str, Any]:
    ends = difference.interval
    return {
        "before": _percent(float(before)),
        "after": _percent(float(after)),
        "difference": _percent(difference.value),
        "interval": None if ends is None else [_percent(end) for end in ends],
    }


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * value, 4)


def _told(one: dict[str, Any]) -> str:
    """`61.20 → 63.05 (+1.85 [0.40, 3.20])`."""
    before, after = (("–" if one[key] is None else f"{one[key]:.2f}") for key in ("before", "after"))
    ends = "" if one["interval"] is None else " [{:+.2f}, {:+.2f}]".format(*one["interval"])
    return f"{before} → {after}" + ("" if one["difference"] is None else f" ({one['difference']:+.2f}{ends})")

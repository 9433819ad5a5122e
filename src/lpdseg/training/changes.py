"""What corrections have changed: figures before and after on the same patients, whether corrected pixels are
right now, and whose masks differ most.

C classes, n channels, P patients; B patches, H x W pixels.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from pydantic import Field

from lpdseg.data.corrected import CorrectedPatch
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.evaluation.bootstrap import Estimate, paired_classes, paired_difference
from lpdseg.evaluation.confusion import Scores, confusion_matrix, sum_by_patient
from lpdseg.evaluation.protocol import difference_text, figure_text, interval_text
from lpdseg.evaluation.split import read_labelled
from lpdseg.files import read_json, write_json
from lpdseg.schema import Described, PerCent, Whole, conform
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.training.regions import keep_regions
from lpdseg.training.relabel import image_batches
from lpdseg.training.start import FROM
from lpdseg.training.taught import Taught

CHANGES = "changes.json"
"""Of a run's folder, where it learnt corrections."""

_SHOWN = 10
"""Patients whose masks changed most."""


_REMEDY = "remove it, or train again"
_Figure = Annotated[float, Field(ge=-100, le=100)] | None


class _Pair(Described):
    before: _Figure
    after: _Figure
    difference: _Figure
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None


class _Patient(Described):
    patient: str
    split: str
    patches: Whole
    share: PerCent
    held: PerCent | None = None


class _Right(Described):
    """Corrected pixels; `before` and `after` are in per cent."""

    pixels: Whole
    before: PerCent | None
    after: PerCent | None


class _Corrected(_Right):
    classes: dict[str, _Right]


class _Slide(Described):
    slide: str
    split: str
    patient: str
    patches: Whole


class _Taught(Described):
    strokes: Whole
    areas: Whole
    patches: Whole
    labelled: Whole
    other_label: Whole
    slides: list[_Slide] = Field(default_factory=list)


class _Changes(Described):
    """`CHANGES`, see `measure_changes`."""

    start: str = Field(alias="from")
    split: str | None
    patients: Whole
    notes: list[str]
    miou: _Pair | None
    classes: dict[str, _Pair]
    changed: list[_Patient]
    corrected: _Corrected | None = None
    taught: _Taught | None = None


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
        before = Path(read_json(run / FROM)["run"])
        old, new = (load_segmenter(one, "best", device, refine="none") for one in (before, run))
    except LpdsegError as error:
        yield f"what has changed cannot be told: {error}"
        return
    changes = measure_changes(old, new, data, taught.patches)
    write_json(run / CHANGES, {"from": str(before), "taught": taught.told, **changes})
    yield from sentences(changes)


def measure_changes(
    old: Segmenter, new: Segmenter, data: Manifest, corrected: Sequence[CorrectedPatch]
) -> dict[str, Any]:
    """Both on the same patches, each as it is used, with its own thresholds and offsets.

    Figures are of the valid split, where it has masks, without whom `new` has learnt from. Masks are compared on
    its patients and on training patches of the patients of those `corrected`.

    **Returns:** plain values; figures are per cent, None where there are none:

    - `split`, `patients`, `notes`: of the figures.
    - `miou` and `classes`, by name: `before`, `after`, `difference`, and its 95 % `interval` over patients.
    - `corrected`: `pixels`, and how many of them have the class that was drawn, `before` and `after`; the same by
      class in its `classes`, of those that were drawn.
    - `changed`: patients by the share of pixels whose class has changed, the largest first: `patient`, `split`,
      `patches`, `share`, and `held`: what that share is with the thresholds and offsets of before.
    - `test`: whether the data has masks that nothing was chosen on.
    """
    held = new.calibrated(old.calibration)
    pixels, count = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    other, weights = Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    def look(images: UInt8[torch.Tensor, "B 3 H W"]) -> list[np.ndarray]:
        evidence = new.observe(images)
        decided = [old.decide(old.observe(images), images), *(one.decide(evidence, images) for one in (new, held))]
        return [one.mask.cpu().numpy() for one in decided]

    def compare(split: str, patients: Sequence[str], masks: Sequence[np.ndarray]) -> None:
        for patient, before, after, alike in zip(patients, *masks, strict=True):
            key = (patient, split)
            pixels[key] += before.size
            other[key] += int((before != after).sum())
            weights[key] += int((before != alike).sum())
            count[key] += 1

    found: dict[str, Any] = {"split": None, "patients": 0, "notes": [], "miou": None, "classes": {}}
    if data.with_masks("valid"):
        kept, note = new.learnt.leave_out(data, "valid")
        both, owners = [list[np.ndarray](), list[np.ndarray]()], list[str]()
        for batch in read_labelled(kept.split("valid"), data.classes, new.settings.batch, "valid"):
            masks = look(batch.images)
            for matrices, own in zip(both, masks[:2], strict=True):
                pairs = zip(batch.masks, own, strict=True)
                matrices += [confusion_matrix(truth, mask, data.classes.channels) for truth, mask in pairs]
            owners += batch.patients
            compare("valid", batch.patients, masks)
        (names, before), (_, after) = (sum_by_patient(np.stack(one), owners) for one in both)
        found |= {"split": "valid", "patients": len(names), "notes": [note] if note else []}
        found |= _figures(before, after, data.classes.names)
    drawn = {one.record.path: one for one in corrected}
    asked = {one.record.patient for one in corrected}
    right = np.zeros((3, len(data.classes)), np.int64)  # drawn, right before, right after
    records = [one for one in data.records if one.path in drawn or (one.split == "train" and one.patient in asked)]
    for chunk, images in image_batches(records, new.settings.batch):
        masks = look(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        for record, *each in zip(chunk, *masks, strict=True):
            if record.split == "train":
                compare("train", [record.patient], [one[None] for one in each])
            if record.path in drawn:
                right += _right(drawn[record.path], *each[:2])
    most = sorted(pixels, key=lambda key: (-other[key] / pixels[key], key))[:_SHOWN]
    found["corrected"] = _shares(right.sum(1)) | {
        "classes": {name: _shares(right[:, c]) for c, name in enumerate(data.classes.names) if right[0, c]}
    }
    found["changed"] = [
        {
            "patient": key[0],
            "split": key[1],
            "patches": count[key],
            "share": _percent(other[key] / pixels[key]),
            "held": _percent(weights[key] / pixels[key]),
        }
        for key in most
    ]
    found["test"] = bool(data.with_masks("test"))
    return found


def read_changes(run: Path) -> dict[str, Any] | None:
    """What `look_back` found; None where nothing was corrected.

    **Raises:** `CheckpointError` for a file that cannot be read.
    """
    path = run / CHANGES
    try:
        told: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    conform(_Changes, told, path, CheckpointError, _REMEDY)
    return told


def sentences(changes: dict[str, Any]) -> Iterator[str]:
    """What has changed, for people."""
    if changes["miou"] is None:
        yield "there are no valid masks, so nobody knows whether the corrections have made masks better"
    else:
        classes = ", ".join(f"{name} {_told(one)}" for name, one in changes["classes"].items())
        who = f"{changes['patients']} valid patient{'' if changes['patients'] == 1 else 's'}"
        yield f"before and after, on {who}: mIoU {_told(changes['miou'])}; {classes}"
    if changes["corrected"]["pixels"]:
        yield (
            "of the {pixels:,} corrected pixels {before:.1f} % had the class that was drawn there, and "
            "{after:.1f} % have it now".format(**changes["corrected"])
        )
    if changes["changed"]:
        most = ", ".join(f"{one['patient']} ({_share(one)})" for one in changes["changed"][:3])
        anew = any(one["held"] != one["share"] for one in changes["changed"])
        why = "; a part of it is that thresholds and offsets were chosen anew" if anew else ""
        yield f"masks have changed most for {most}{why}; all figures are in {CHANGES}"


def _share(one: dict[str, Any]) -> str:
    held = "" if one["held"] == one["share"] else f", {one['held']:.1f} % with those of before"
    return f"{one['share']:.1f} %{held}"


def _right(
    patch: CorrectedPatch, before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"]
) -> Int[np.ndarray, "3 C"]:
    """By class the pixels that were drawn, and those of them that two masks show so."""
    wanted = patch.mask(before.shape)
    shown = (wanted, wanted[before == wanted], wanted[after == wanted])
    classes = len(patch.names)
    return np.stack([np.bincount(one.ravel(), minlength=classes)[:classes] for one in shown])


def _shares(right: Int[np.ndarray, "3"]) -> dict[str, Any]:
    pixels, before, after = right.tolist()
    shares = [_percent(one / pixels) if pixels else None for one in (before, after)]
    return {"pixels": pixels, "before": shares[0], "after": shares[1]}


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
    """`61.20 → 63.05 (+1.85 [+0.4, +3.2])`; an interval is no more certain than that."""
    told = f"{figure_text(one['before'])} → {figure_text(one['after'])}"
    if one["difference"] is None:
        return told
    difference = f"{difference_text(one['difference'])} {interval_text(one['interval'], sign=True)}"
    return f"{told} ({difference.rstrip()})"

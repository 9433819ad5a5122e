"""Which images somebody should look at first, by the figures of patches and of the fields of slides that were seen.

Figures are computed when somebody asks for them, a batch at a time, while nobody waits for a field.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Any, get_args

import numpy as np
import torch

from lpdseg.choices import WorstBy
from lpdseg.data.records import PatchRecord
from lpdseg.errors import LpdsegError
from lpdseg.evaluation.split import labelled_batches
from lpdseg.evaluation.worst import (
    PatchFigures,
    disagreement,
    in_cell,
    patch_figures,
    patch_rows,
    patient_rows,
    worst_first,
)
from lpdseg.maps.uncertainty import gap_of_two_best, is_unsure
from lpdseg.tissue import TissueClasses
from lpdseg.view.fields import Field
from lpdseg.view.items import AbsentError, Item, fault_of
from lpdseg.view.run import ShownRun

AT_ONCE = 8
"""Patches that are computed between two looks at whether somebody waits for a field, or has said stop."""
_FAULTS = 3
"""Sentences that are told of what could not be ranked."""
_SHOWN = ("error", "unsure", "disagreement", "confused")


@dataclass(frozen=True)
class _Place:
    """A patch, or a field of a slide, by their numbers."""

    index: int
    number: int | None = None


class Ranking:
    """The figures of a visit's images under its first run, and where all runs, if there are more, differ.

    `step` is for one thread; everything else may be asked by any.

    **Arguments:**

    - `classes`: of true masks.
    """

    def __init__(self, runs: Sequence[ShownRun], items: Sequence[Item], classes: TissueClasses) -> None:
        self._runs, self._items, self._classes = runs, items, classes
        self._lock, self._jobs = Lock(), deque[tuple[_Place, ...]]()
        self._figures: dict[PatchFigures, _Place] = {}
        self._faults, self._whole, self._begun = dict[str, None](), 0, 0
        self._done, self._busy, self._versions = 0, False, tuple[int, ...]()

    @property
    def wanted(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._jobs)

    def begin(self, images: Iterable[int]) -> None:
        """Ranks these images anew: patches with a truth, other patches, and what is known of slides."""
        chosen = {index: self._items[index] for index in images}
        patches = sorted((item.truth is None, index) for index, item in chosen.items() if not item.slide)
        places, most = tuple(_Place(index) for _, index in patches), self._runs[0].segmenter.settings.batch
        most = min(most, AT_ONCE)
        jobs = [places[first : first + most] for first in range(0, len(places), most)]
        seen = self._runs[0].computed().items()
        fields = [_Place(i, number) for i, known in seen if i in chosen and chosen[i].slide for number in known]
        with self._lock:
            self._jobs = deque([*jobs, *((field,) for field in fields)])
            self._figures, self._faults, self._whole = {}, {}, len(patches) + len(fields)
            self._versions, self._begun, self._done = self._now(), self._begun + 1, 0

    def stop(self) -> None:
        """Ranks no more than was ranked until now."""
        with self._lock:
            self._jobs.clear()

    def step(self) -> None:
        """Computes the figures of the next batch; edits that come in between end the ranking."""
        with self._lock:
            if not self._jobs:
                return
            places, begun, self._busy = self._jobs.popleft(), self._begun, True
        found, faults = dict[PatchFigures, _Place](), list[str]()
        try:
            found, faults = self._of(places)
        finally:
            with self._lock:
                self._busy = False
                if self._now() != self._versions:
                    self._jobs.clear()
                elif begun == self._begun:
                    self._figures.update(found)
                    self._faults.update(dict.fromkeys(faults))
                    self._done += len(places)

    def described(self) -> dict[str, Any]:
        """How far it is, whether edits have changed the masks since it began, and what could not be ranked."""
        with self._lock:
            return {
                "running": bool(self._jobs) or self._busy,
                "done": self._done,
                "whole": self._whole,
                "stale": bool(self._whole) and self._now() != self._versions,
                "faults": [*self._faults][:_FAULTS],
            }

    def results(self) -> dict[str, Any]:
        """What was ranked, in the orders that are known, each as places in `ranked`; pixels by truth and mask, None
        where no truth is known; and a row per patient. Figures are in per cent.
        """
        places = self._known()
        figures, classes = list(places), self._runs[0].segmenter.classes
        ranked = [
            {**self._where(place), **{name: row[name] for name in _SHOWN}}
            for place, row in zip(places.values(), patch_rows(figures, classes), strict=True)
        ]
        at, orders = {one: position for position, one in enumerate(figures)}, dict[str, list[int]]()
        for by in get_args(WorstBy):
            if any(one.figure(by) is not None for one in figures):
                orders[by] = [at[one] for one in worst_first(figures, by)]
        confusion = sum((one.confusion for one in figures), np.zeros((classes.channels,) * 2, np.int64))
        named = [one for one, place in places.items() if place.number is None and one.record.patient]
        return {
            "ranked": ranked,
            "orders": orders,
            "names": classes.channel_names,
            "confusion": confusion.tolist() if confusion.any() else None,
            "patients": patient_rows(named, classes),
        }

    def cell(self, truth: int, predicted: int) -> list[dict[str, Any]]:
        """The patches that hold a pair of channels, with their pixels of it, most first.

        **Raises:** `AbsentError` where there is no such pair.
        """
        if not 0 <= max(truth, predicted) < self._runs[0].segmenter.classes.channels:
            raise AbsentError(f"there is no pair {truth}, {predicted} of channels")
        places = self._known()
        found = in_cell(list(places), truth, predicted)
        return [{**self._where(places[one]), "pixels": pixels} for one, pixels in found]

    def _known(self) -> dict[PatchFigures, _Place]:
        with self._lock:
            return dict(self._figures)

    def _now(self) -> tuple[int, ...]:
        return tuple(run.version for run in self._runs)

    def _of(self, places: Sequence[_Place]) -> tuple[dict[PatchFigures, _Place], list[str]]:
        """The figures of a field, or of patches, and why there are none of others."""
        try:
            if places[0].number is not None:
                one = self._of_field(places[0].index, places[0].number)
                return ({} if one is None else {one: places[0]}), []
            return dict(zip(self._of_patches(places), places, strict=True)), []
        except Exception as error:  # which must not end the thread that computes everything
            if len(places) == 1:
                return {}, [f"{self._items[places[0].index].name}: {fault_of(error)}"]
        found, faults = dict[PatchFigures, _Place](), list[str]()  # one bad file costs no other its figures
        for place in places:
            known, fault = self._of([place])
            found.update(known)
            faults += fault
        return found, faults

    def _of_patches(self, places: Sequence[_Place]) -> list[PatchFigures]:
        records = [_record(self._items[place.index]) for place in places]
        batches = list(labelled_batches(records, self._classes, len(records)))
        with ExitStack() as held:
            for run in self._runs:
                held.enter_context(run.lock)
            segmenter, *others = (run.segmenter for run in self._runs)
            return patch_figures(segmenter, records, batches, others=others)

    def _of_field(self, index: int, number: int) -> PatchFigures | None:
        """Of the tissue in a field; None where there is none, or edits came in between."""
        field, segmenter = self._runs[0].field(index, number), self._runs[0].segmenter
        if field is None:
            return None
        masks, count = [torch.from_numpy(field.mask)], len(segmenter.classes)
        if not (tissue := masks[0] < count).any():
            return None
        gap = gap_of_two_best(torch.from_numpy(field.probabilities.astype(np.float32)))
        masks += [
            torch.from_numpy(other.mask) for run in self._runs[1:] if (other := self._same(run, index, number))
        ]
        apart = None
        if len(masks) > 1:
            both = torch.stack(masks)
            apart = disagreement(both[:, (both < count).any(0)][:, None, None], count + 1).item()
        nothing = np.zeros((segmenter.classes.channels,) * 2, np.int64)
        unsure = is_unsure(gap, segmenter.settings.unsure)[tissue].float().mean().item()
        return PatchFigures(_record(self._items[index]), nothing, unsure, 1 - gap[tissue].mean().item(), apart)

    def _same(self, run: ShownRun, index: int, number: int) -> Field | None:
        """Another run's field of the same pixels; None where its grid is another."""
        try:
            mine, theirs = self._runs[0].seen(index).frame, run.seen(index).frame
        except LpdsegError:
            return None
        if (mine.size, mine.scale, mine.side) != (theirs.size, theirs.scale, theirs.side):
            return None
        if (found := run.field(index, number)) is not None:
            return found
        with run.lock:  # nobody looks at it, so it is not kept
            return run.seen(index).computer.field(run.segmenter, number)

    def _where(self, place: _Place) -> dict[str, Any]:
        """The image, and of a field its place in pixels of the full image."""
        if place.number is None:
            return {"image": place.index, "box": None}
        frame = self._runs[0].seen(place.index).frame
        box = zip(frame.box(place.number), frame.scale * 2, strict=True)
        return {"image": place.index, "box": [length * scale for length, scale in box]}


def _record(item: Item) -> PatchRecord:
    return PatchRecord(item.path, item.labels, item.group, item.patient, item.truth)

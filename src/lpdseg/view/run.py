"""A run as it is shown: its segmenter under the edits of the moment, and the fields that it has computed.

C classes, n channels (background last), K prototypes; a tile has h x w pixels.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from lpdseg.checkpoint import one_state
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import Edits, as_read
from lpdseg.segmenting.loading import about, load_segmenter, trained_on, weights_digest
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.view.fields import Computer, Field, Frame, frame_of, windows_of
from lpdseg.view.items import AbsentError, Item, fault_of
from lpdseg.view.pixels import Pictures
from lpdseg.view.readings import Readings
from lpdseg.workflows.slides.options import SlideOptions

READINGS, FIELDS = 1 << 30, 256 << 20
"""Bytes that are kept of what networks say, and of fields, for each run."""

_OVERVIEW = 1024
"""Pixels along the longer side of an item of which every field that was computed leaves a trace."""


@dataclass
class Counts:
    """Pixels of a field by channel, and by winning prototype."""

    classes: np.ndarray
    prototypes: np.ndarray


@dataclass
class Seen:
    """What is known of an item under the edits of the moment.

    - `counts`: of the fields that were computed, by number.
    - `faults`: why others could not be, in sentences.
    - `stamp`: grows with each field.
    - `overview`: every `step`-th pixel of the grid, channel by channel: mask, winners; None before the first.
    """

    computer: Computer
    step: int
    counts: dict[int, Counts] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    stamp: int = 0
    overview: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def frame(self) -> Frame:
        """How the item lies in the run's grid."""
        return self.computer.frame


class ShownRun:
    """A trained run, under edits that may change at any moment.

    **Arguments:**

    - `folder`: of the run.
    - `options`: device, checkpoint, microns per pixel, … as for `segment`; edits among them act from the start.

    **Raises:** as `load_segmenter`.
    """

    def __init__(
        self, folder: Path, items: tuple[Item, ...], pictures: Pictures, options: SlideOptions, most: int = READINGS
    ) -> None:
        changes: dict[str, Any] = {**options.predicting}
        with one_state(folder, options.checkpoint):
            plain = load_segmenter(folder, options.checkpoint, options.device, as_trained=True, **changes)
            self.about = about(folder, options.checkpoint)
            self._model = weights_digest(folder, options.checkpoint)
        self.folder, self.items, self.options = folder, items, options
        self.readings = Readings(plain.model, most)
        self.loaded, self.plain = plain, plain.computed_by(self.readings)
        self.segmenter: Segmenter = self.plain
        self.version = 0
        self.lock = RLock()
        """Held while anything is computed, so that edits never change in the middle of it."""
        self.pictures = pictures
        self._windows = windows_of(folder, plain, options.checkpoint, options)
        self._trained = trained_on(folder, options.checkpoint).mpp
        self._seen: dict[int, Seen] = {}
        self._fields: OrderedDict[tuple[int, int, str], Any] = OrderedDict()
        self._bytes, self._state = 0, RLock()
        if options.edits is not None:
            self.edit(as_read(options.edits))

    def is_of(self, model: str) -> bool:
        """Whether it has the weights of which the SHA-256 begins so; that of none is nothing."""
        return bool(model) and self._model.startswith(model)

    def leave_to(self, others: "Sequence[ShownRun]") -> None:
        """Shows no results that one of the others wrote, and not this run, under this run's name."""

        def own(item: Item) -> Item:
            model = "" if item.written is None else item.written.model
            theirs = any(other.is_of(model) for other in others) and not self.is_of(model)
            return replace(item, written=None) if theirs else item

        self.items = tuple(map(own, self.items))

    def edit(self, edits: Edits | None) -> None:
        """From now on masks are those of other edits; nothing that was computed under the ones before is shown.

        **Raises:** as `EditedSegmenter`; then everything stays as it was.
        """
        segmenter = self.plain if edits is None else EditedSegmenter(self.plain, edits)
        with self.lock, self._state:
            self.segmenter = segmenter
            self.version += 1
            self._fields.clear()
            self._bytes = 0
            for seen in self._seen.values():
                seen.counts, seen.faults, seen.overview = {}, {}, {}
                seen.stamp += 1

    def seen(self, index: int) -> Seen:
        """What is known of an item.

        **Raises:** as `frame_of`, and where the picture cannot be opened.
        """
        with self._state:
            if index in self._seen:
                return self._seen[index]
        if not 0 <= index < len(self.items):
            raise AbsentError(f"there is no image {index}")
        opened = partial(self.pictures.opened, index)
        with opened() as slide:
            frame = frame_of(self.items[index], slide, self._windows, self.options.mpp, self._trained)
        batch = 1 if isinstance(self._windows, str) else self._windows.batch
        computer = Computer(index, frame, opened, self.readings, batch)
        with self._state:
            return self._seen.setdefault(index, Seen(computer, max(1, -(-max(frame.size) // _OVERVIEW))))

    def compute(self, index: int, number: int) -> None:
        """Computes a field, unless it is known. What cannot be computed leaves its reason."""
        seen = self.seen(index)
        with self.lock:
            if number in seen.counts or number in seen.faults:
                return
            try:
                found = seen.computer.field(self.segmenter, number)
            except Exception as error:  # such as no memory: it must not end the thread that computes all others
                with self._state:
                    seen.faults[number], seen.stamp = fault_of(error), seen.stamp + 1
                return
            self._note(seen, number, found)
            self._keep((index, number, "field"), found, found.size)

    def field(self, index: int, number: int, again: bool = True) -> Field | None:
        """A field that was computed, None where it never was; where it had to give way to others, it is computed
        `again` or None.
        """
        found: Field | None = self._held((index, number, "field"))
        seen = self.seen(index)
        if found is None and again and number in seen.counts:
            with self.lock:
                if number in seen.counts:  # no edit came in between
                    found = seen.computer.field(self.segmenter, number)
                    self._keep((index, number, "field"), found, found.size)
        return found

    def heat(
        self, index: int, number: int, of: str, channel: int, again: bool = True
    ) -> Float32[np.ndarray, "h w"] | None:
        """The probability of one prototype (`of` = `prototype`), or a class's activation at one scale (`scale`,
        whose `channel` is scale · C + class), over a field that was computed; see `field`.
        """
        name = f"{of}-{channel}"
        found: np.ndarray | None = self._held((index, number, name))
        seen = self.seen(index)
        if found is None and again and number in seen.counts:
            with self.lock:
                if number in seen.counts:
                    chosen = partial(_chosen, of=of, channel=channel, classes=len(self.segmenter.classes))
                    found = seen.computer.heat(self.segmenter, number, chosen).astype(np.float16)
                    self._keep((index, number, name), found, found.nbytes)
        return None if found is None else found.astype(np.float32)

    def known(self, index: int) -> dict[int, Counts]:
        """Pixels by class and prototype of the fields that were computed."""
        with self._state:
            return dict(self.seen(index).counts)

    def computed(self) -> dict[int, list[int]]:
        """The fields that were computed, by item."""
        with self._state:
            return {index: list(seen.counts) for index, seen in self._seen.items()}

    def _note(self, seen: Seen, number: int, found: Field) -> None:
        classes = np.bincount(found.mask.ravel(), minlength=len(self.segmenter.classes) + 1)
        count = len(self.segmenter.model.parts or ())
        won = np.zeros(count, np.int64)
        if found.prototypes is not None:
            won = np.bincount(found.prototypes[found.prototypes != NO_PROTOTYPE].ravel(), minlength=count)
        x, y, _, _ = seen.frame.box(number)
        step = seen.step
        with self._state:
            for name, values, empty in (("mask", found.mask, 255), ("prototypes", found.prototypes, NO_PROTOTYPE)):
                if values is None:
                    continue
                if name not in seen.overview:
                    shape = [-(-length // step) for length in reversed(seen.frame.size)]
                    seen.overview[name] = np.full(shape, empty, np.uint16)
                first = (-y % step, -x % step)
                part = values[first[0] :: step, first[1] :: step]
                top, left = (y + first[0]) // step, (x + first[1]) // step
                seen.overview[name][top : top + part.shape[0], left : left + part.shape[1]] = part
            seen.counts[number] = Counts(classes, won)
            seen.stamp += 1

    def _held(self, key: tuple[int, int, str]) -> Any:
        with self._state:
            if key not in self._fields:
                return None
            self._fields.move_to_end(key)
            return self._fields[key][0]

    def _keep(self, key: tuple[int, int, str], value: Any, size: int) -> None:
        with self._state:
            self._fields[key] = value, size
            self._bytes += size
            while self._bytes > FIELDS and len(self._fields) > 1:
                self._bytes -= self._fields.popitem(last=False)[1][1]


def _chosen(evidence: Evidence, of: str, channel: int, classes: int) -> torch.Tensor:
    if of == "prototype":
        assert evidence.parts is not None
        return evidence.parts[:, channel]
    return evidence.activations[channel // classes][:, channel % classes]

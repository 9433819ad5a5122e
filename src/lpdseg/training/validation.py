"""Scoring the model on the validation split while it trains."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lpdseg.data.corrected import NOBODY, LearntFrom
from lpdseg.data.records import Manifest
from lpdseg.evaluation.about import about_split
from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.protocol import About, Record
from lpdseg.evaluation.split import LabelledBatch, observe_split, read_labelled, score_split
from lpdseg.model.network import Network
from lpdseg.segmenting.loading import make_segmenter
from lpdseg.segmenting.segmenter import Calibration
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.device_room import DeviceRoom


@dataclass(frozen=True)
class Validated:
    """One validation: thresholds and offsets of best mIoU, and the record at the quoted gate with them.

    The temperature is found last, on the same masks: nothing else depends on it.
    """

    calibration: Calibration
    record: Record


def validation_steps(number: int, total: int, after: int) -> set[int]:
    """The steps of `total` at which so many validations are due, those `after` one alone."""
    return {step for step in (round(total * (i + 1) / number) for i in range(number)) if step > after}


class Validation:
    """The validation split, read once; masks are compared without refinement, which only smooths.

    Decoded patches and masks stay in memory, 4 bytes a pixel, and while it runs what the network says of them, see
    `Evidence`.

    **Arguments:**

    - `kept`: pixels that were decoded before; they are taken out.
    - `learnt`: patches that training learns from, whose patients are left out.

    **Raises:** `DataError` where that leaves nobody.
    """

    def __init__(
        self,
        data: Manifest,
        settings: Settings,
        kept: dict[Path, np.ndarray] | None = None,
        learnt: LearntFrom | None = None,
    ) -> None:
        self.settings = settings.model_copy(
            update={"predict": settings.predict.model_copy(update={"refine": "none"})}
        )
        self.classes: TissueClasses = data.classes
        self.batches: list[LabelledBatch] = []
        left_out: str | None = None
        if any(record.split == "valid" and record.mask is not None for record in data.records):
            data, left_out = (learnt or NOBODY).leave_out(data, "valid")
            self.batches = read_labelled(data.split("valid"), data.classes, settings.predict.batch, "valid", kept)
        self.about = about_split(data, "valid", self.batches, left_out) if self.batches else About()

    def __bool__(self) -> bool:
        """Whether there is anything to validate on."""
        return bool(self.batches)

    def place(self, room: DeviceRoom) -> None:
        """Lets the device hold what it has room for, and the rest be sent without waiting."""
        if room.there:
            self.batches = [batch.placed(*room.place(batch.images, batch.truth)) for batch in self.batches]

    def run(self, model: Network, known: Calibration | None = None) -> Validated:
        """Scores the model and puts it back into the mode it was in; what is `known` is not chosen anew."""
        mode = model.training
        model.eval()
        segmenter = make_segmenter(model, self.classes, self.settings, Calibration.plain(len(self.classes)))
        observed = observe_split(segmenter, self.batches)
        calibration = known or calibrate(segmenter, observed, self.settings.predict.offsets)
        record = score_split(
            segmenter.calibrated(calibration), observed, "valid", about=self.about, find_temperature=known is None
        )[0]
        model.train(mode)
        return Validated(replace(calibration, temperature=record["reliability"]["temperature"]), record)

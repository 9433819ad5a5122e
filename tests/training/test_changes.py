"""What a training has changed, measured on masks that are known."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from PIL import Image
from torch import Tensor

from lpdseg.data.corrected import NOBODY, CorrectedPatch, LearntFrom
from lpdseg.data.corrections import Drawn
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.tissue import TissueClasses
from lpdseg.training.changes import measure_changes, sentences

CLASSES = TissueClasses(("a", "b"))


class Painter:
    """Predicts class b where a patch is brighter than some value in red."""

    def __init__(self, threshold: int, learnt: LearntFrom = NOBODY, calibration: int = 0) -> None:
        self.threshold, self.learnt, self.settings = threshold, learnt, SimpleNamespace(batch=2)
        self.calibration = calibration

    def calibrated(self, calibration: int) -> "Painter":
        return Painter(self.threshold, self.learnt, calibration)

    def observe(self, images: Tensor) -> Tensor:
        return images

    def decide(self, evidence: Tensor, images: Tensor) -> Any:
        assert evidence is images
        return SimpleNamespace(mask=(images[:, 0] > self.threshold + self.calibration).to(torch.uint8))


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    """Patches whose left half is dark and of class a; the right half of class b has a brightness per patient."""
    records = []
    for name, split, bright in (("p", "valid", 40), ("q", "valid", 80), ("r", "train", 40), ("s", "train", 40)):
        image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
        image[:, 4:], mask[:, 4:] = bright, 1
        path, true = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        Image.fromarray(image).save(path)
        Image.fromarray(mask).save(true)
        # The mask of a training patch must stay closed: there is none.
        records.append(PatchRecord(path, (1, 1), split, name, true if split == "valid" else tmp_path / "none.png"))
    return Manifest(CLASSES, tuple(records), tmp_path)


def drawn_on(record: PatchRecord, *areas: tuple[str, Any]) -> CorrectedPatch:
    return CorrectedPatch(record, tuple(Drawn(record.path.name, *one) for one in areas), CLASSES.names)


def test_figures_before_and_after_and_whose_masks_changed(data: Manifest) -> None:
    corrected = drawn_on(data.records[2], ("b", shapely.box(2, 0, 8, 4)), ("a", shapely.box(0, 7, 1, 8)))
    found = measure_changes(Painter(60), Painter(20), data, [corrected])
    assert (found["split"], found["patients"], found["notes"]) == ("valid", 2, [])
    # before: half of p is missed, so b has 32 of 64 and a 64 of 96 pixels
    assert found["classes"]["b"]["before"] == 50 and found["classes"]["a"]["before"] == pytest.approx(66.6667)
    assert found["miou"] | {"interval": None} == {
        "before": pytest.approx(58.3333), "after": 100, "difference": pytest.approx(41.6667), "interval": None,
    }  # fmt: skip
    assert found["classes"]["b"]["interval"] == [0, 100]  # q alone has gained nothing, p alone everything
    assert found["changed"] == [
        {"patient": "p", "split": "valid", "patches": 1, "share": 50, "held": 50},
        {"patient": "r", "split": "train", "patches": 1, "share": 50, "held": 50},
        {"patient": "q", "split": "valid", "patches": 1, "share": 0, "held": 0},
    ]
    # of 24 pixels of b two thirds are bright; the one of a was right all along
    b, a = {"pixels": 24, "before": 0, "after": pytest.approx(66.6667)}, {"pixels": 1, "before": 100, "after": 100}
    assert found["corrected"] == {"pixels": 25, "before": 4, "after": 68, "classes": {"a": a, "b": b}}
    assert found["test"] is False
    told = list(sentences(found))
    assert "mIoU 58.33 → 100.00 (+41.67 [+0.0, +75.0])" in told[0]
    assert told[1] == "of the 25 corrected pixels 4.0 % had the class that was drawn there, and 68.0 % have it now"
    assert (
        told[2] == "masks have changed most for p (50.0 %), r (50.0 %), q (0.0 %); all figures are in changes.json"
    )


def test_what_thresholds_and_offsets_alone_have_changed_is_told_apart(data: Manifest) -> None:
    tested = replace(data, records=(*data.records, replace(data.records[0], split="test")))
    found = measure_changes(Painter(60), Painter(60, calibration=-30), tested, ())
    assert [(one["patient"], one["share"], one["held"]) for one in found["changed"]] == [("p", 50, 0), ("q", 0, 0)]
    assert found["corrected"] == {"pixels": 0, "before": None, "after": None, "classes": {}} and found["test"]
    assert "p (50.0 %, 0.0 % with those of before)" in list(sentences(found))[1]
    assert "thresholds and offsets were chosen anew" in list(sentences(found))[1]


def test_whoever_was_learnt_from_is_left_out(data: Manifest) -> None:
    learnt = LearntFrom.of([CorrectedPatch(data.records[0], (), CLASSES.names)])
    found = measure_changes(
        Painter(60), Painter(20, learnt), data, [drawn_on(data.records[0], ("a", shapely.box(0, 0, 4, 8)))]
    )
    assert found["corrected"]["pixels"] == 32  # on a valid patch as well
    assert found["patients"] == 1 and found["miou"]["difference"] == 0 and found["miou"]["interval"] is None
    assert [one["patient"] for one in found["changed"]] == ["q"]
    assert "corrected valid patches of p" in found["notes"][0]


def test_without_masks_nobody_knows(data: Manifest) -> None:
    training = Manifest(CLASSES, data.records[2:], data.source)
    found = measure_changes(
        Painter(60), Painter(20), training, [drawn_on(data.records[2], ("b", shapely.box(4, 0, 8, 8)))]
    )
    assert found["miou"] is None and [one["share"] for one in found["changed"]] == [50]
    assert next(sentences(found)).startswith("there are no valid masks")

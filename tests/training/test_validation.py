"""A validation waits for a device as often for many patches as for few, and holds there what has room."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import pink_and_blue
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.model.lpd import LPD
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training import device_room
from lpdseg.training.device_room import DeviceRoom
from lpdseg.training.validation import Validation
from no_waiting import as_on_a_gpu, never_waiting

CPU = torch.device("cpu")
HOST = ("gate", "labels", "thresholds", "calibration", "fit_temperature", "described")
"""What they call are tensors of the host alone."""


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder, rng, records = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    for number in range(5):
        pixels, mask = pink_and_blue.draw(number, rng)
        paths = folder / f"{number}.png", folder / f"{number}-mask.png"
        Image.fromarray(pixels).save(paths[0])
        Image.fromarray(mask).save(paths[1])
        labels = (int((mask == 0).any()), int((mask == 1).any()))
        records.append(PatchRecord(paths[0], labels, "valid", f"v{number}", mask=paths[1]))
    return Manifest(TissueClasses(("pink", "blue")), tuple(records), folder)


def settings(*changes: str) -> Settings:
    small = ("predict.batch=2", "predict.fusion=[0,0.4,0.6]", "predict.refine=none", "loss.scale_weights=[0,0.1,1]")
    return load_settings(None, [*small, *changes])


@pytest.mark.parametrize("background", ["power", "glass"])
@pytest.mark.parametrize("head", [0, 8])
def test_more_patches_are_no_more_waits(
    head: int, background: str, data: Manifest, tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    model, waits = tiny_lpd(counts=(2, 2), head=head), list[Counter[str]]()
    for times in (1, 4):
        many = replace(data, records=data.records * times)
        validation = Validation(many, settings(f"predict.background={background}"))
        validation.run(model)  # what is uploaded once for all is there now
        with never_waiting(
            HOST,
            observe_split=3,
            score_split=9,
            confusion_matrices=2,
            of_offsets=60,
            _placed=120,
            _by_gate=9,
            joined=2,
        ) as seen:
            validation.run(model)
        waits.append(seen)
    assert waits[0] == waits[1] and waits[0]["confusion_matrices"] == 2  # copied, and looked at


def test_what_the_device_holds_changes_no_figure(
    data: Manifest, tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, found = tiny_lpd(counts=(2, 2)), []
    monkeypatch.setattr(device_room, "makes_pixels", lambda _: True)
    monkeypatch.setattr(device_room, "free_memory", lambda _: 10_000)
    for share in (None, 1.0, 0.0):
        validation = Validation(data, settings())
        if share is not None:
            room = DeviceRoom(CPU, share)
            validation.place(room)
            assert room.left == (10_000 - 2 * 32 * 32 * 4 if share else 0)  # a batch of two patches, and no more
        found.append(validation.run(model))
    for one in found[1:]:
        assert one.record == found[0].record
        assert torch.equal(one.calibration.thresholds, found[0].calibration.thresholds)
        assert torch.equal(one.calibration.offsets, found[0].calibration.offsets)

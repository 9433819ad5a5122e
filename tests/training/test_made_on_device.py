"""Training whose batches are made on the device, which the CPU stands in for: whatever it holds, the same run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pink_and_blue
from interrupted import StopAfter
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.on_device import Maker
from lpdseg.errors import TrainingError
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training import device_room
from lpdseg.training.loop import train
from noting import Notes

SMALL = (
    "model.encoder=resnet18", "model.stages=3", "model.prototypes=2", "model.prototype_dim=16",
    "model.hidden_dim=8", "loss.scale_weights=[0,0.1,1]", "predict.fusion=[0,0.4,0.6]", "train.batch=4",
    "train.epochs=1", "train.validations=1", "train.precision=32-true", "train.lr=1e-3", "loss.warmup=0",
    "data.stain_jitter=0.1", "train.lr_warmup=0", "predict.background=power", "loss.contrast.weight=0",
    "loss.composite.weight=0.5", "loss.morphology.encoder=stain",
)  # fmt: skip
_BYTES = 12 * 32 * 32 * 3


def settings(*overrides: str) -> Settings:
    return load_settings(None, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number in range(12):
        pixels, mask = pink_and_blue.draw(number, rng)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        records.append(PatchRecord(path, (int((mask == 0).any()), int((mask == 1).any())), "train", f"t{number}"))
    return Manifest(TissueClasses(("pink", "blue")), tuple(records), folder)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_room, "makes_pixels", lambda _: True)
    monkeypatch.setattr(device_room, "free_memory", lambda _: _BYTES)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = json.loads((run / "checkpoints" / "last.json").read_text())
    return load_file(run / "checkpoints" / state["files"]["weights"])


def same(first: Path, second: Path) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)


@pytest.mark.usefixtures("on_device")
def test_what_the_device_holds_changes_no_parameter_and_may_change_on_resume(
    data: Manifest, tmp_path: Path
) -> None:
    told = []
    for name, share in (("whole", 1.0), ("part", 0.45)):
        notes = Notes()
        train(settings(f"data.device_share={share}"), data, tmp_path / name, reporter=notes)
        told += [note for note in notes.notes if "decoded on the device" in note]
    assert told[0] == "12 of 12 training patches lie decoded on the device, 3.69e-05 GB"
    assert told[1].startswith("5 of 12 ") and "data.device_share = 0.45" in told[1]
    assert same(tmp_path / "whole", tmp_path / "part")
    train(settings("data.device_share=1"), data, tmp_path / "resumed", reporter=StopAfter(2))
    train(settings("data.device_share=0", "data.workers=1"), data, tmp_path / "resumed", resume=True)
    assert same(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("call", ["__init__", "__call__"])
def test_a_device_without_memory_says_what_to_make_smaller(
    call: str, data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Maker, call, full)
    with pytest.raises(TrainingError, match=r"make data\.device_share smaller, or train\.batch$"):
        train(settings(), data, tmp_path / "run")


def test_only_cuda_makes_batches_itself() -> None:
    found = {name: device_room.makes_pixels(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert found == {"cpu": False, "cuda": True, "mps": False}

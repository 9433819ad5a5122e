"""Corrections on their way from a file to a run that has learnt them, and to figures that leave them out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interrupted import StopAfter
from lpdseg import api
from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.data.patches import read_image
from lpdseg.errors import CheckpointError, DataError, SettingsError
from lpdseg.settings import load_settings
from lpdseg.training.metrics import read_metrics
from lpdseg.training.options import FEW, GENTLY, in_few_steps
from lpdseg.training.start import read_labels
from lpdseg.training.taught import COPY
from noting import Notes

PINK = "t1_1[10]"


def stroke(image: str, name: str, row: float = 16, width: float = 6) -> dict[str, Any]:
    line = {"type": "LineString", "coordinates": [[2, row], [30, row]]}
    properties = {"image": image, "classification": {"name": name}, "width": width}
    return {"type": "Feature", "geometry": line, "properties": properties}


def labels(image: str, **told: int) -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": {"image": image, "labels": told}}


def write(folder: Path, *features: Any) -> Path:
    path = folder / "corrections.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def tensors(run: Path, name: str = "last") -> dict[str, Tensor]:
    return read_tensors(run, read_state(run, name), "weights")


@pytest.mark.parametrize("head", ["prototypes", "linear"])
def test_strokes_are_learnt(
    head: str, small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, prototype_run: Path
) -> None:
    first = prototype_run
    if head == "linear":
        first = tmp_path / "first"
        taught = ("loss.composite.weight=1", "model.head_width=8", "model.head=linear", "predict.gate=none")
        api.train(small_data, first, classes="pink,blue", overrides=(*small_settings, *taught), device="cpu")
    # The expert insists that three patches, as blue as the fourth, are pink.
    file = write(tmp_path, *(stroke(f"t0_{n}[01].png", "pink", width=32) for n in (0, 3, 6)))
    overrides = ["train.lr=2e-3", "train.epochs=6", "train.validations=1", "loss.correction.every=1"]
    out, without, notes = tmp_path / "second", tmp_path / "without", Notes()
    for run, weight in ((out, 5), (without, 0)):
        own = [*overrides, f"loss.correction.weight={weight}"]
        api.train(small_data, run, start=first, corrections=file, overrides=own, device="cpu", reporter=notes)
    image = read_image(small_data / "train" / "t0_0[01].png")
    shares = [
        float(api.load(run, "last", device="cpu").segment(image).probabilities[0].mean()) for run in (out, without)
    ]
    assert shares[0] > shares[1] + 0.02
    assert "correction" not in read_metrics(without)[0]
    told = json.loads((out / "run.json").read_text())
    assert told["losses"]["correction"] == "corrected pixels, cross-entropy"
    assert told["from"]["corrections"] | {"file": "", "sha256": ""} == {
        "file": "", "sha256": "", "strokes": 3, "areas": 0, "patches": 3, "labelled": 0, "other_label": 3,
        "slides": [], "left_out": {},
    }  # fmt: skip
    assert any("teaches: strokes 3, areas 0, patches 3; images" in note for note in notes.notes)
    assert read_labels(out)["train/t0_0[01].png"] == (1, 1)
    assert read_metrics(first)[0].keys() == read_metrics(out)[0].keys() - {"correction"}
    changes = json.loads((out / "changes.json").read_text())
    assert changes["from"] == str(first) and changes["taught"] == told["from"]["corrections"]
    assert list(changes["corrected"]["classes"]) == ["pink"] and changes["corrected"]["pixels"] > 400


def test_an_interrupted_run_goes_on_to_the_bit(prototype_run: Path, small_data: Path, tmp_path: Path) -> None:
    file = write(tmp_path, stroke(f"train/{PINK}.png", "pink"), labels(PINK, blue=1))
    told: dict[str, Any] = {"start": prototype_run, "corrections": file, "device": "cpu", "epochs": 2}
    api.train(small_data, tmp_path / "whole", **told)
    run = tmp_path / "parts"
    assert api.train(small_data, run, **told, reporter=StopAfter(2)).interrupted
    with pytest.raises(CheckpointError, match="or with other edits or corrections; resume without --from"):
        api.train(small_data, run, resume=True, start=prototype_run, device="cpu")
    file.unlink()  # the run has its own
    assert not api.train(small_data, run, resume=True, device="cpu").interrupted
    whole, parts = tensors(tmp_path / "whole"), tensors(run)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert (run / COPY).read_text() == (tmp_path / "whole" / COPY).read_text()
    assert read_labels(run) == {f"train/{PINK}.png": (1, 1)}
    for path in (run / "checkpoints").iterdir():  # nothing was saved yet: it starts where it started
        path.unlink()
    assert not api.train(small_data, run, resume=True, device="cpu").interrupted
    assert all(torch.equal(value, tensors(run)[name]) for name, value in whole.items())


def test_whoever_was_corrected_is_in_no_figure(prototype_run: Path, small_data: Path, tmp_path: Path) -> None:
    file = write(tmp_path, stroke("v0_12.png", "pink"))
    out, notes = tmp_path / "second", Notes()
    short: dict[str, Any] = {"epochs": 1, "device": "cpu", "reporter": notes}
    api.train(small_data, out, start=prototype_run, corrections=file, **short)
    note = (
        "the run has learnt from corrected valid patches of v0, so the 2 valid patches of this patient are left out"
    )
    assert any(note in told for told in notes.notes)
    told = json.loads((out / "run.json").read_text())
    assert told["from"]["corrections"]["left_out"] == {"valid": ["v0"]}
    [record] = api.evaluate(out, small_data, device="cpu")
    assert list(record["by_patient"]) == ["v1"] and any(note in told for told in record["notes"])
    assert read_state(out, "best")["valid"]["images"] == record["images"] == 2
    [before] = api.evaluate(prototype_run, small_data, device="cpu")
    assert list(before["by_patient"]) == ["v0", "v1"]
    # in other folders and under other names they are the same patients
    moved = Path(shutil.copytree(small_data, tmp_path / "moved"))
    for path in moved.rglob("v[01]_*.png"):
        path.rename(path.with_name(path.name.replace("v", "w")))
    [record] = api.evaluate(out, moved, classes="pink,blue", device="cpu")
    assert list(record["by_patient"]) == ["w1"]
    # a third run has learnt from them as well, whatever it is taught itself
    third = tmp_path / "third"
    api.train(small_data, third, start=out, epochs=1, device="cpu")
    [record] = api.evaluate(third, small_data, device="cpu")
    assert list(record["by_patient"]) == ["v1"]
    # and it may not learn from all of them
    everybody = write(tmp_path, stroke("v0_12.png", "pink"), stroke("v1_13.png", "blue"))
    with pytest.raises(DataError, match=r"corrected patches of every valid patient .* \(v0, v1\)"):
        api.train(small_data, tmp_path / "none", start=prototype_run, corrections=everybody, **short)


def test_what_cannot_be_learnt_is_told(
    prototype_run: Path, small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    file = write(tmp_path, stroke(PINK, "pink"))
    with pytest.raises(SettingsError, match="corrections are of what a run has predicted; name it with --from"):
        api.train(small_data, tmp_path / "x", classes="pink,blue", corrections=file, device="cpu")
    with pytest.raises(SettingsError, match="teach the segmentation head of method lpd"):
        api.train(small_data, tmp_path / "x", start=small_run, corrections=file, device="cpu")
    with pytest.raises(DataError, match=r"corrections\.geojson corrects the image 'other\.png'"):
        file = write(tmp_path, stroke("other.png", "pink"))
        api.train(small_data, tmp_path / "x", start=prototype_run, corrections=file, device="cpu")
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [2, 2]}, "properties": {"image": PINK}}
    with pytest.raises(
        DataError, match=r"geojson corrects nothing; passed over features without a class \(1\); draw"
    ):
        file = write(tmp_path, point)
        api.train(small_data, tmp_path / "x", start=prototype_run, corrections=file, device="cpu")


def test_few_steps_at_a_gentle_rate_unless_others_are_asked_for() -> None:
    settings = load_settings("demo")
    few = in_few_steps(settings, 1200, ())
    assert round(few.train.epochs * (1200 // few.train.batch)) == FEW
    assert few.train.lr == settings.train.lr * GENTLY
    assert in_few_steps(settings, 1200, ("train.epochs=6", "train.lr = 2e-3")) == settings
    assert in_few_steps(settings, 1200, (), 6).train.epochs == settings.train.epochs
    assert in_few_steps(settings, 100, ()).train.epochs == settings.train.epochs  # which are fewer still

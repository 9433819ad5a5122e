"""A run that goes on from another's weights, and from what was said of its prototypes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interrupted import StopAfter
from lpdseg import api
from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.data.importers import load_data
from lpdseg.errors import CheckpointError, DataError, SettingsError
from lpdseg.tissue import tissue_classes
from lpdseg.training import start
from lpdseg.training.progress import Silent
from lpdseg.training.relabel import Change
from noting import Notes

LABELS = {"train/t1_1[10].png": (0, 1), "train/t0_3[01].png": None}


@pytest.fixture
def edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Edits that are decided to be of two of the patches."""
    changes = {path: Change(labels, 0 if labels else 3) for path, labels in LABELS.items()}
    monkeypatch.setattr(start, "find_changes", lambda *_: changes)
    path = tmp_path / "edits.yaml"
    path.write_text("pink 1: {move: blue, name: odd}\nblue 2: {hide: true}\n")
    return path


def tensors(run: Path, name: str = "last") -> dict[str, Tensor]:
    return read_tensors(run, read_state(run, name), "weights")


def test_a_run_goes_on_with_other_labels(
    prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path
) -> None:
    notes, out = Notes(), tmp_path / "next"
    still = ["train.lr=1e-9", "train.epochs=1", "train.weight_decay=0"]
    api.train(small_data, out, start=prototype_run, edits=edits, overrides=still, device="cpu", reporter=notes)
    told = json.loads((out / "run.json").read_text())
    assert told["from"]["run"] == str(prototype_run) and told["status"] == "finished"
    assert told["from"]["edits"]["said"]["pink 1"] == {"name": "odd", "move": "blue"}
    assert (told["from"]["edits"]["other_label"], told["from"]["edits"]["left_out"]) == (1, 1)
    assert told["data"]["patches"]["train"] == 11
    assert any("of 12 training patches 1 get another label, and 1 are left out" in note for note in notes.notes)
    assert any(f"from the weights of {prototype_run}" in note for note in notes.notes)
    assert start.read_labels(out) == LABELS
    before, after = tensors(prototype_run, "best"), tensors(out)
    for name, value in before.items():
        if name.startswith("model.") and value.is_floating_point() and "running" not in name:
            torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-5)
    assert after["model.head.live"].tolist() == [False, True, True, False]
    settings = read_state(out, "last")["settings"]
    assert settings["train"]["epochs"] == 1 and settings["model"]["head_width"] == 8
    segmenter = api.load(out, device="cpu")  # the edits are part of the run
    assert segmenter.model.retired == {0, 3}
    # a third run knows the labels as well
    manifest = load_data(small_data, tissue_classes("pink,blue"))
    data, third = start.start_from(out, manifest, None, "cpu", Silent())
    assert third.as_json()["labels"] == {"train/t1_1[10].png": "01", "train/t0_3[01].png": None}
    assert data.fingerprint() == read_state(out, "last")["data"] != manifest.fingerprint()


def test_an_interrupted_run_goes_on_as_it_was_started(
    prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path
) -> None:
    told: dict[str, Any] = {"start": prototype_run, "edits": edits, "device": "cpu"}
    api.train(small_data, tmp_path / "whole", **told)
    run = tmp_path / "parts"
    result = api.train(small_data, run, **told, reporter=StopAfter(2))
    assert result.interrupted
    with pytest.raises(CheckpointError, match="started from another run, or with other edits"):
        api.train(small_data, run, resume=True, start=prototype_run, device="cpu")
    edits.unlink()
    assert not api.train(small_data, run, resume=True, device="cpu").interrupted
    whole, parts = tensors(tmp_path / "whole"), tensors(run)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert json.loads((run / "run.json").read_text())["from"]["edits"]["left_out"] == 1
    shutil.rmtree(run / "checkpoints")  # nothing was saved yet: it starts where it started
    assert not api.train(small_data, run, resume=True, device="cpu").interrupted
    assert all(torch.equal(value, tensors(run)[name]) for name, value in whole.items())
    (run / start.FROM).write_text("{")
    with pytest.raises(CheckpointError, match=r"from\.json cannot be read"):
        api.train(small_data, run, resume=True, device="cpu")


def test_a_moved_prototype_gets_a_number_of_its_new_class(
    prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    file = run / "checkpoints" / read_state(run, "best")["files"]["weights"]
    weights = load_file(file)
    weights["model.head.live"] = torch.tensor([True, True, True, False])
    save_file(weights, file)
    edits.write_text("pink 1: {move: blue}\n")
    notes = Notes()
    still = ["train.lr=1e-9", "train.epochs=1", "train.weight_decay=0"]
    api.train(small_data, tmp_path / "next", start=run, edits=edits, overrides=still, device="cpu", reporter=notes)
    assert json.loads((tmp_path / "next" / "run.json").read_text())["from"]["became"] == {"pink 1": "blue 2"}
    assert "pink 1 is blue 2 from now on" in notes.notes
    after = tensors(tmp_path / "next")
    assert after["model.head.live"].tolist() == [False, True, True, True]
    torch.testing.assert_close(after["model.bank.weight"][3], weights["model.bank.weight"][0], rtol=1e-4, atol=1e-5)


def test_what_cannot_go_on_is_told(prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path) -> None:
    out = tmp_path / "next"
    with pytest.raises(SettingsError, match="name it with --from"):
        api.train(small_data, out, edits=edits, device="cpu")
    with pytest.raises(CheckpointError, match=r"the network of .* is another .*; go on with its own settings"):
        api.train(small_data, out, start=prototype_run, overrides=["model.prototypes=3"], device="cpu")
    with pytest.raises(CheckpointError, match="holds no 'best' checkpoint"):
        api.train(small_data, out, start=tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="was trained for the classes pink, blue, but"):
        api.train(small_data, out, start=prototype_run, classes="red,blue", device="cpu")
    edits.write_text("pink 1: {move: blue}\npink 2: {merge: pink 1}\n")
    with pytest.raises(DataError, match=r"leaves pink without a prototype .* keep one of pink 1, pink 2"):
        api.train(small_data, out, start=prototype_run, edits=edits, device="cpu")


@pytest.fixture
def taught_run(small_data: Path, small_settings: tuple[str, ...], tmp_path: Path) -> Path:
    """A run whose prototypes were taught morphologies."""
    taught = (*small_settings, "loss.composite.weight=1", "model.head_width=8", "loss.morphology.encoder=stain")
    api.train(small_data, tmp_path / "first", classes="pink,blue", overrides=taught, device="cpu")
    return tmp_path / "first"


@pytest.fixture
def other_data(small_data: Path, tmp_path: Path) -> Path:
    """The same without one of the patches."""
    less = Path(shutil.copytree(small_data, tmp_path / "less"))
    (less / "train" / "t1_1[10].png").unlink()
    return less


def test_morphologies_keep_their_numbers_where_the_patches_are_known(
    taught_run: Path, small_data: Path, other_data: Path, tmp_path: Path
) -> None:
    before = tensors(taught_run)
    assert before["morphologies.shares"].shape[0] == 12 and before["morphologies.means"].any()
    notes = Notes()
    api.train(small_data, tmp_path / "again", start=taught_run, device="cpu", reporter=notes)
    after = tensors(tmp_path / "again")
    for name in ("shares", "means", "weights", "axes"):
        torch.testing.assert_close(after[f"morphologies.{name}"], before[f"morphologies.{name}"])
    assert json.loads((tmp_path / "again" / "run.json").read_text())["from"]["prototypes"] == "taken over"
    assert not any("found anew" in note for note in notes.notes)
    api.train(other_data, tmp_path / "other", start=taught_run, device="cpu", reporter=notes)
    assert tensors(tmp_path / "other")["morphologies.shares"].shape[0] == 11  # found anew
    [told] = [note for note in notes.notes if "found anew" in note]
    assert told.endswith(f"since {taught_run} has learnt from other patches, so prototypes get other numbers")


def test_with_other_patches_it_is_told_what_edits_did_not_do(
    taught_run: Path, small_data: Path, other_data: Path, edits: Path, tmp_path: Path
) -> None:
    file = taught_run / "checkpoints" / read_state(taught_run, "best")["files"]["weights"]
    save_file(load_file(file) | {"model.head.live": torch.ones(4, dtype=torch.bool)}, file)
    out, notes = tmp_path / "next", Notes()
    edits.write_text("pink 1: {hide: true}\n")
    told: dict[str, Any] = {"start": taught_run, "edits": edits, "device": "cpu", "reporter": notes}
    api.train(other_data, out, **told)
    record = json.loads((out / "run.json").read_text())["from"]
    assert record["prototypes"] == "found anew" and record["became"] == {}
    assert record["edits"]["left_out"] == 1 and start.read_labels(out) == LABELS  # labels heed them
    [sentence] = [note for note in notes.notes if "found anew" in note]
    assert "edits.yaml changed labels alone, by what that run predicts for these patches" in sentence
    assert sentence.endswith("no prototype is moved, merged or hidden in the network")
    notes.notes.clear()
    api.train(small_data, tmp_path / "same", **told)
    assert json.loads((tmp_path / "same" / "run.json").read_text())["from"]["prototypes"] == "taken over"
    assert api.load(tmp_path / "same", device="cpu").model.retired >= {0}
    assert not any("found anew" in note for note in notes.notes)


def test_what_an_unfinished_version_knew_of_morphologies_is_found_anew(
    taught_run: Path, small_data: Path, tmp_path: Path
) -> None:
    file = taught_run / "checkpoints" / read_state(taught_run, "best")["files"]["weights"]
    save_file({name: value for name, value in load_file(file).items() if name != "morphologies.looks"}, file)
    api.train(small_data, tmp_path / "next", start=taught_run, epochs=1, device="cpu")
    assert json.loads((tmp_path / "next" / "run.json").read_text())["from"]["prototypes"] == "found anew"

"""Checkpoints that survive whatever a process left behind."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

from lpdseg.checkpoint import one_state, pack_optimiser, read_state, read_tensors, save_checkpoint, unpack_optimiser
from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.model import tensor_files

STATE: dict[str, Any] = {
    "step": 5, "steps": 9, "seconds": 1.0, "best": None, "thresholds": [0.5, 0.5], "offsets": [0.0, 0.0],
    "valid": None, "classes": {"names": ["a", "b"]}, "settings": {}, "data": "",
    "encoder": {"backbone": {}, "mean": [0.5] * 3, "std": [0.5] * 3, "freeze_norm": False, "last_stride": None},
}  # fmt: skip


def save(run: Path, name: str, value: float | None, step: int = 5) -> None:
    weights = None if value is None else {"w": torch.full((2,), value)}
    save_checkpoint(run, name, STATE | {"step": step}, weights, {"0.step": torch.ones(1)})


def weight(run: Path, name: str) -> float:
    return float(read_tensors(run, read_state(run, name), "weights")["w"][0])


def test_what_is_read_of_a_run_that_is_being_trained_is_of_one_state_or_refused(tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    with one_state(tmp_path, "last"):
        state = read_state(tmp_path, "last")
    told = "is being trained and has saved other weights meanwhile; try again"
    with pytest.raises(CheckpointError, match=told), one_state(tmp_path, "last"):
        save(tmp_path, "last", 2.0, step=6)
    with pytest.raises(CheckpointError, match=told), one_state(tmp_path, "last"):
        save(tmp_path, "last", 3.0, step=7)
        read_tensors(tmp_path, state, "weights")  # which are gone
    with pytest.raises(CheckpointError, match="missing"), one_state(tmp_path, "last"):
        read_tensors(tmp_path, state, "weights")


def test_weights_that_go_while_they_are_opened_are_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library then raises what every fault of PyTorch is."""
    save(tmp_path, "last", 1.0)
    real = tensor_files.load_file

    def gone(path: Path) -> dict[str, torch.Tensor]:
        path.unlink()
        return real(path)

    monkeypatch.setattr(tensor_files, "load_file", gone)
    with pytest.raises(CheckpointError, match="a run that is being trained has saved others by now, so try again"):
        weight(tmp_path, "last")


def test_what_another_run_left_at_the_same_step_is_not_taken_for_ours(tmp_path: Path) -> None:
    save(tmp_path, "last", 7.0)
    (tmp_path / "checkpoints" / "last.json").unlink()  # killed before the state was written
    save(tmp_path, "last", 1.0)
    assert weight(tmp_path, "last") == 1.0


def test_weights_are_shared_by_the_names_of_one_step_and_removed_with_the_last_of_them(tmp_path: Path) -> None:
    save(tmp_path, "best", 1.0)
    save(tmp_path, "last", None)
    assert weight(tmp_path, "best") == weight(tmp_path, "last") == 1.0
    save(tmp_path, "last", 2.0, step=6)
    assert (weight(tmp_path, "best"), weight(tmp_path, "last")) == (1.0, 2.0)
    save(tmp_path, "best", None, step=6)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"last.json", "best.json", "weights-00000006.safetensors", "optimiser-00000006.safetensors"}


def test_others_may_read_weights_as_they_may_read_the_rest(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path, "last", 1.0)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "checkpoints").iterdir() if path.is_file()]
    assert len(files) > 1 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_weights_that_nobody_else_may_read_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "last", 1.0)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("lpdseg.checkpoint.load_tensors", refuse)
    with pytest.raises(
        CheckpointError, match=r"safetensors cannot be read \(Permission denied\); change its rights$"
    ):
        read_tensors(tmp_path, read_state(tmp_path, "last"), "weights")


def test_weights_of_others_stay(tmp_path: Path) -> None:
    """A folder `checkpoints` may be another program's, and somebody may keep a copy there."""
    (tmp_path / "checkpoints").mkdir()
    others = {"model.safetensors", "weights-00000001 (copy).safetensors", "epoch-00000001.safetensors"}
    for name in others:
        (tmp_path / "checkpoints" / name).write_bytes(b"of others")
    save(tmp_path, "best", 1.0)
    save(tmp_path, "last", 2.0, step=6)
    assert others <= {path.name for path in (tmp_path / "checkpoints").iterdir()}


def test_half_files_of_a_killed_process_are_cleared_away(tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    (tmp_path / "checkpoints" / ".last.json.abc.tmp.json").write_text('{"fil')
    (tmp_path / "checkpoints" / ".weights-00000006.safetensors.abc.tmp.safetensors").write_bytes(b"12")
    save(tmp_path, "last", 2.0, step=6)
    assert weight(tmp_path, "last") == 2.0
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ('{"format": 0}', "another version"),
        ('{"format": 1}', "incomplete"),
        ("[]", "format"),
    ],
)
def test_a_damaged_state_is_an_error(text: str, words: str, tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    (tmp_path / "checkpoints" / "last.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_state(tmp_path, "last")


def test_a_threshold_that_no_patch_reaches_is_taken(tmp_path: Path) -> None:
    chosen = [1.001, 0.0]  # calibration goes a step beyond the highest probability
    save(tmp_path, "last", 1.0)
    path = tmp_path / "checkpoints" / "last.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"thresholds": chosen}))
    assert read_state(tmp_path, "last")["thresholds"] == chosen


def test_damaged_or_missing_tensors_are_an_error(tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    state = read_state(tmp_path, "last")
    path = tmp_path / "checkpoints" / state["files"]["weights"]
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="missing or damaged"):
        read_tensors(tmp_path, state, "weights")
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing; a run that is being trained has saved others by now"):
        read_tensors(tmp_path, json.loads(json.dumps(state)), "weights")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("encoder.mean", [float("nan"), 0.5, 0.5], r"encoder.mean.0 = nan cannot be used"),
        ("encoder.mean", [1e308, 0.5, 0.5], "encoder.mean.0"), ("encoder.mean", [0.5] * 2, "encoder.mean"),
        ("encoder.std", [0.5, float("inf"), 0.5], "encoder.std.1"), ("encoder.std", [0.5, 0.5, 0], "encoder.std.2"),
        ("encoder.std", [0.5, -0.5, 0.5], "encoder.std.1"), ("encoder.std", [1e-300, 0.5, 0.5], "encoder.std.0"),
        ("encoder", [], "encoder"), ("encoder.last_stride", 3, "encoder.last_stride"),
        ("valid", {"classes": [1]}, "valid.classes"), ("valid", {"classes": {"a": 1}}, "valid.classes.a"),
        ("valid", {"confusion": "x"}, "valid.confusion"), ("valid", {"confusion": [[10**30]]}, "confusion.0.0"),
        ("valid", {"image_level": "a"}, "valid.image_level"), ("valid", {"reliability": ["ece"]}, "reliability"),
        ("valid", {"miou": {"a": 1}}, "valid.miou"), ("valid", {"interval": {"miou": [1]}}, "valid.interval.miou"),
        ("thresholds", [0.5], "1 thresholds and 2 offsets for 2 classes"), ("thresholds", "0.5", "thresholds"),
        ("thresholds", [1.5, 0.5], "thresholds.0"), ("offsets", [float("inf"), 0.0], "offsets.0"),
        ("temperature", 0.0, "temperature"), ("temperature", 1e-300, "temperature"), ("mpp", 1e-30, "mpp"),
        ("mpp", True, "mpp"), ("patch", [0, 5], "patch.0"), ("patch", [10**12, 5], "patch.0"),
        ("step", "5", "step"), ("step", -1, "step"), ("step", 10**12, "step"), ("steps", 1e308, "steps"),
        ("seconds", "x" * 10**6, "seconds"), ("classes", {"names": ["a"]}, "for 1 classes"),
        ("classes", {"names": [["a"]]}, "no name of a tissue class"), ("classes", [], "classes"),
        ("classes", {"names": ["a", "b"], "indices": [1e999, 2]}, "no mask value"),
        ("classes", {"names": ["a", "b"], "colours": [[1e999, 0, 0], "#000000"]}, "no colour"),
        ("settings", {"model": {"hidden_dim": 10**12}}, "hidden_dim"), ("settings", {"model": []}, "model"),
        ("settings", {"loss": "x"}, "loss"), ("settings", {"x\ud800": 1}, "unknown setting"), ("data", 5, "data"),
        ("files.weights", "../../x.safetensors", "files.weights"), ("files.weights", ".x", "files.weights"),
        ("files", {}, "'files.weights' is missing"), ("files.optimiser", "/etc/passwd", "files.optimiser"),
        ("corrected", {"images": "x", "patients": {}}, "corrected.images"), ("chunk", 0, "chunk"),
    ],
)  # fmt: skip
def test_a_state_with_values_that_cannot_be_is_a_sentence(
    place: str, value: Any, words: str, tmp_path: Path
) -> None:
    save(tmp_path, "last", 1.0)
    path = tmp_path / "checkpoints" / "last.json"
    state = json.loads(path.read_text())
    *above, name = place.split(".")
    inner = state
    for part in above:
        inner = inner[part]
    inner[name] = value
    path.write_text(json.dumps(state))
    with pytest.raises(LpdsegError, match=words) as caught:
        read_state(tmp_path, "last")
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 500 and text.encode() and str(tmp_path) in text


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"format": 1, "a": ' + "9" * 9999 + "}", "\xff", " " * (1 << 26) + "{}"]
)
def test_a_file_that_is_no_description_is_a_sentence(text: str, tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    (tmp_path / "checkpoints" / "last.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint's state") as caught:
        read_state(tmp_path, "last")
    assert len(str(caught.value)) <= 500


def test_a_damaged_checkpoint_beside_the_one_that_is_saved_stays_with_its_files(tmp_path: Path) -> None:
    save(tmp_path, "best", 1.0)
    (tmp_path / "checkpoints" / "best.json").write_text('{"files": 5}')
    save(tmp_path, "last", 2.0, step=6)
    assert weight(tmp_path, "last") == 2.0
    assert (tmp_path / "checkpoints" / "weights-00000005.safetensors").exists()


@pytest.mark.parametrize("name", ["x", "0", "9.step", "-1.step", "99999999999.step", "0.exp_avg"])
def test_an_optimisers_state_of_other_parameters_is_an_error(name: str) -> None:
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    tensors = {name: torch.ones(7)}
    with pytest.raises(CheckpointError, match="of a checkpoint fits no parameter"):
        unpack_optimiser(optimiser, tensors)


def test_an_optimisers_state_lies_in_memory_as_its_parameters_do() -> None:
    """The single kernel that updates all parameters on a GPU refuses others; a CPU's computes nonsense of them."""
    found = []
    for resumed in (False, True):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last))
        optimiser = torch.optim.AdamW([weight], fused=True)
        for step in range(2):
            if resumed and step == 1:
                tensors = {name: value.contiguous().clone() for name, value in pack_optimiser(optimiser).items()}
                optimiser = torch.optim.AdamW([weight], fused=True)
                unpack_optimiser(optimiser, tensors)
                assert optimiser.state[weight]["exp_avg"].stride() == weight.stride()
            weight.grad = torch.randn_like(weight)
            optimiser.step()
        found.append(weight.detach().clone())
    assert torch.equal(*found)

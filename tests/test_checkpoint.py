"""Checkpoints that survive whatever a process left behind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lpdseg.checkpoint import read_state, read_tensors, save_checkpoint
from lpdseg.errors import CheckpointError

STATE: dict[str, Any] = {
    "step": 5, "steps": 9, "seconds": 1.0, "best": None, "thresholds": [0.5], "offsets": [0.0],
    "valid": None, "classes": {}, "encoder": {}, "settings": {}, "data": "",
}  # fmt: skip


def save(run: Path, name: str, value: float | None, step: int = 5) -> None:
    weights = None if value is None else {"w": torch.full((2,), value)}
    save_checkpoint(run, name, STATE | {"step": step}, weights, {"0.step": torch.ones(1)})


def weight(run: Path, name: str) -> float:
    return float(read_tensors(run, read_state(run, name), "weights")["w"][0])


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


def test_damaged_or_missing_tensors_are_an_error(tmp_path: Path) -> None:
    save(tmp_path, "last", 1.0)
    state = read_state(tmp_path, "last")
    path = tmp_path / "checkpoints" / state["files"]["weights"]
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="missing or damaged"):
        read_tensors(tmp_path, state, "weights")
    path.unlink()
    with pytest.raises(CheckpointError, match="missing or damaged"):
        read_tensors(tmp_path, json.loads(json.dumps(state)), "weights")

"""Trainings that end before their time, or have nothing to validate: what the record and the person are told."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg import api, checkpoint
from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.errors import CheckpointError, OutputError, TrainingError
from lpdseg.guard import end_if_run_again
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.training.loading import on_one_thread
from lpdseg.training.progress import Silent


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """Eight patches in folders of two classes."""
    folder = tmp_path / "data"
    rng = np.random.default_rng(0)
    for number in range(8):
        path = folder / "train" / "AB"[number % 2] / f"q{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(60, 220, (32, 32, 3)).astype(np.uint8)).save(path)
    return folder


def test_a_validation_without_any_class_is_noted_and_the_run_finishes(
    patches: Path, tmp_path: Path, small_settings: tuple[str, ...]
) -> None:
    (patches / "classes.yaml").write_text("names: [A, B]\nbackground: 2\n")
    for folder in ("img", "mask"):
        (patches / "valid" / folder).mkdir(parents=True)
    Image.new("RGB", (32, 32), (200, 100, 150)).save(patches / "valid/img/v.png")
    Image.new("L", (32, 32), 2).save(patches / "valid/mask/v.png")
    overrides = (*small_settings, "predict.background=none", "train.epochs=1", "train.validations=1")
    result = api.train(patches, tmp_path / "run", overrides=overrides, device="cpu")
    assert not result.interrupted
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "finished"
    [row] = [
        row
        for row in map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
        if row["kind"] == "valid"
    ]
    assert "miou" in row and "image_f1" not in row  # a figure that does not exist is no row
    assert (tmp_path / "run/metrics.csv").is_file()


def test_a_crash_of_any_kind_is_in_the_record(
    patches: Path, tmp_path: Path, small_settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of a kind that nobody thought of")

    monkeypatch.setattr(LpdTask, "forward", broken)
    with pytest.raises(ZeroDivisionError):
        api.train(patches, tmp_path / "run", overrides=small_settings, device="cpu")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "failed"
    assert record["reason"] == "ZeroDivisionError: of a kind that nobody thought of"


@pytest.mark.parametrize("validated", [True, False])
def test_a_last_update_after_which_nothing_is_a_number_is_told_and_not_saved(
    validated: bool, patches: Path, small_data: Path, tmp_path: Path, small_settings: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The losses of that step were numbers: they are of the parameters before it."""
    learn = torch.optim.AdamW.step

    def overflow(self: torch.optim.AdamW, *arguments: object) -> None:
        learn(self, *arguments)
        for group in self.param_groups:
            for values in group["params"]:
                values.data.fill_(torch.inf if not validated else 3e38)

    monkeypatch.setattr(torch.optim.AdamW, "step", overflow)
    overrides = (*small_settings, "train.epochs=0.1", "train.validations=1")
    data, classes = (small_data, "pink,blue") if validated else (patches, None)
    with pytest.raises((TrainingError, CheckpointError), match=r"no numbers|not numbers any more"):
        api.train(data, tmp_path / "run", classes=classes, overrides=overrides, device="cpu")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "failed" and "numbers" in record["reason"]
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_disk_that_is_full_at_the_first_validation_lets_the_run_start_again(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first two checkpoints there is one: the best is smaller, and comes first."""
    overrides = (*small_settings, "train.epochs=2", "train.validations=2")
    run, train = tmp_path / "run", partial(api.train, small_data, classes="pink,blue", device="cpu")
    write = checkpoint._save_tensors

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        if path.name.startswith("optimiser-"):
            raise OutputError(f"cannot write {path}: no space left; free space or choose another folder")
        write(path, tensors)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="no space left"):
        patch.setattr(checkpoint, "_save_tensors", full)
        train(run, overrides=overrides)
    assert sorted(path.name for path in (run / "checkpoints").glob("*.json")) == ["best.json"]
    with pytest.raises(CheckpointError, match="go on with --resume"):
        train(run, overrides=overrides)
    done, whole = train(run, overrides=overrides, resume=True), train(tmp_path / "whole", overrides=overrides)
    assert done.steps == done.total
    for name in ("last", "best"):
        one, two = (read_tensors(each, read_state(each, name), "weights") for each in (run, whole.run))
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    (run / "checkpoints/last.json").unlink()  # by a hand: what took several validations is not begun anew
    record = json.loads((run / "run.json").read_text())
    for status in ("finished", "running"):
        (run / "run.json").write_text(json.dumps(record | {"status": status}))
        with pytest.raises(CheckpointError, match="none to go on from"):
            train(run, overrides=overrides, resume=True)


def test_names_that_are_no_utf_8(patches: Path, tmp_path: Path, small_settings: tuple[str, ...]) -> None:
    (patches / "train/A/q0.png").rename(patches / "train/A/caf\udce9.png")
    moved = tmp_path / "d\udce4ta"
    patches.rename(moved)
    run = tmp_path / "run"
    with pytest.raises(OutputError, match=r"r\\xFCn has a name that is no UTF-8"):
        api.train(moved, tmp_path / "r\udcfcn", overrides=small_settings, device="cpu")
    result = api.train(moved, run, overrides=(*small_settings, "train.epochs=1"), device="cpu")
    assert result.steps == result.total
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["data"]["source"].endswith(r"d\xE4ta")
    assert api.segment(run, moved / "train/A/caf\udce9.png").mask.shape == (32, 32)


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 3) exited unexpectedly"), BrokenPipeError(), EOFError()]
)
def test_a_loader_that_has_ended_says_what_may_be_why(error: Exception) -> None:
    def batches():  # type: ignore[no-untyped-def]
        yield {}
        raise error

    with pytest.raises(
        TrainingError, match=r"has ended: a script .* `if __name__ == '__main__':`; .*data\.workers"
    ):
        list(on_one_thread(batches()))


class KillALoader(Silent):
    """Kills a loader process after a step, as a system does that is out of memory."""

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        if done == 2:
            [loader] = multiprocessing.active_children()
            assert loader.pid is not None
            os.kill(loader.pid, signal.SIGKILL)


@pytest.mark.e2e
def test_a_killed_loader_costs_no_step(
    patches: Path, tmp_path: Path, small_settings: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    overrides = (*small_settings, "train.epochs=8", "train.validations=0")
    train = partial(api.train, patches, device="cpu")

    def at_once(number: int, frame: object) -> None:
        raise RuntimeError("in the middle of a step, as PyTorch does where loaders were used before")

    before = signal.signal(signal.SIGCHLD, at_once)
    request.addfinalizer(partial(signal.signal, signal.SIGCHLD, before))
    with pytest.raises(
        TrainingError,
        match=r"^a process that loads patches has ended: it was ended from .*; step \d+ of 16 is saved",
    ):
        train(tmp_path / "run", overrides=(*overrides, "data.workers=1"), reporter=KillALoader())
    assert signal.getsignal(signal.SIGCHLD) is at_once
    signal.signal(signal.SIGCHLD, before)
    kept = read_state(tmp_path / "run", "last")["step"]
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert 2 <= kept < 16 and (record["status"], record["step"]) == ("failed", kept)
    train(tmp_path / "run", overrides=overrides, resume=True)
    train(tmp_path / "whole", overrides=overrides)
    one, two = (read_tensors(run, read_state(run, "last"), "weights") for run in tmp_path.glob("[rw][uh]*"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (FileNotFoundError(2, "No such file or directory"), True),
        (FileNotFoundError(2, "No such file or directory", "a.png"), False),
        (ConnectionRefusedError(111, "Connection refused"), True),
        (UnpicklingError("pickle data was truncated"), True),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nTraceback"), False),
        (ZeroDivisionError(), False),
    ],
)
def test_what_comes_of_a_dead_process_is_told_from_other_faults(error: Exception, known: bool) -> None:
    def batches() -> Iterator[dict[str, torch.Tensor]]:
        yield {}
        raise error

    with pytest.raises(TrainingError if known else type(error)):
        list(on_one_thread(batches()))


def test_this_process_is_no_helper() -> None:
    end_if_run_again()


SCRIPT = """
import lpdseg
lpdseg.train({data!r}, {run!r}, overrides={overrides!r}, device="cpu")
"""


@pytest.mark.e2e
def test_a_script_without_the_main_guard_gets_one_sentence(
    patches: Path, tmp_path: Path, small_settings: tuple[str, ...]
) -> None:
    overrides = [*small_settings, "data.workers=2"]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(data=str(patches), run=str(tmp_path / "run"), overrides=overrides))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "TrainingError" in last and "`if __name__ == '__main__':`" in last
    assert done.stderr.count("lpdseg.train(") == 1  # the traceback of the script alone
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"

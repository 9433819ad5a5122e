"""The loop: what a run leaves behind, resuming, stopping, and faults while it runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pink_and_blue
from interrupted import StopAfter
from lpdseg.ahead import ahead
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.errors import CheckpointError, DataError, SettingsError, TrainingError
from lpdseg.losses.diversity import Diversity
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.segmenting.segmenter import Calibration
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.engine import Engine
from lpdseg.training.loading import on_one_thread
from lpdseg.training.loop import train
from lpdseg.training.metrics import read_metrics
from lpdseg.training.validation import Validated, Validation
from processes import program

CLASSES = TissueClasses(("pink", "blue"))
SMALL = (
    "model.encoder=resnet18", "model.stages=3", "model.prototypes=2", "model.prototype_dim=16",
    "model.hidden_dim=8", "loss.scale_weights=[0,0.1,1]", "predict.fusion=[0,0.4,0.6]", "predict.refine=none",
    "train.batch=4", "train.epochs=2", "train.validations=2", "train.precision=32-true", "train.log_every=1",
    "train.lr=1e-3", "loss.warmup=0.4", "data.stain_jitter=0.1", "train.lr_warmup=0", "predict.background=power",
    "loss.contrast.weight=0.1", "loss.diversity.weight=0.5", "loss.composite.weight=0",
    "loss.morphology.encoder=stain",
)  # fmt: skip


def small_settings(*overrides: str) -> Settings:
    return load_settings(None, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twelve training patches of 32 px, pink, blue or both, and four with masks."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number in range(16):
        pixels, mask = pink_and_blue.draw(number, rng)
        path, mask_path = folder / f"p{number % 4}_{number}.png", folder / f"mask_{number}.png"
        Image.fromarray(pixels).save(path)
        Image.fromarray(mask).save(mask_path)
        labels = (int((mask == 0).any()), int((mask == 1).any()))
        valid = number >= 12
        # The training rows name masks that do not exist: opening one would fail.
        records.append(
            PatchRecord(
                path,
                labels,
                "valid" if valid else "train",
                f"{'v' if valid else 't'}{number % 4}",
                mask_path if valid else folder / "missing.png",
                0.5,
            )
        )
    return Manifest(CLASSES, tuple(records), folder)


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    state = json.loads((run / "checkpoints" / "last.json").read_text())
    return load_file(run / "checkpoints" / state["files"]["weights"])


def assert_same_run(left: Path, right: Path) -> None:
    first, second = last_weights(left), last_weights(right)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_run_leaves_checkpoints_metrics_and_record(data: Manifest, tmp_path: Path) -> None:
    result = train(small_settings(), data, tmp_path / "run")
    run = tmp_path / "run"
    assert (result.steps, result.total, result.interrupted) == (6, 6, False)
    assert result.miou is not None and 0 <= result.miou <= 100
    record = json.loads((run / "run.json").read_text())
    assert list(record["losses"])[:2] == ["classification", "foreground"] and "pseudo" in record["losses"]
    assert record["status"] == "finished" and record["seed"] == 0
    assert record["data"]["patches"] == {"train": 12, "valid": 4}
    assert len(record["data"]["fingerprint"]) == 64
    assert {"torch", "lpdseg", "python"} <= record["versions"].keys()
    assert load_settings(run / "settings.yaml") == small_settings("model.weights=null"), "auto is settled"
    rows = read_metrics(run)
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if row["kind"] == "valid"] == [3, 6]
    early, late = rows[0], [row for row in rows if row["kind"] == "train"][-1]
    assert "diversity" not in early and "foreground" not in early
    assert {"diversity", "foreground", "background"} <= late.keys()
    assert (run / "metrics.csv").read_text().splitlines()[0].startswith("kind,step,loss")
    assert list((run / "tensorboard").glob("events*"))
    assert {path.name for path in (run / "checkpoints").glob("*.json")} == {"last.json", "best.json"}
    assert not list(run.rglob("*.tmp*"))


def test_same_seed_same_parameters_other_seed_other_parameters(data: Manifest, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(small_settings(f"train.seed={seed}", "train.epochs=1", "loss.warmup=0"), data, tmp_path / name)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("overrides", [(), ("loss.composite.weight=0.5",)], ids=["plain", "composites"])
def test_signal_saves_and_resume_ends_at_the_same_parameters(
    overrides: tuple[str, ...], data: Manifest, tmp_path: Path
) -> None:
    settings = small_settings(*overrides)
    whole = train(settings, data, tmp_path / "whole")

    part = train(settings, data, tmp_path / "part", reporter=StopAfter(4))
    assert part.interrupted and part.steps == 4
    assert json.loads((tmp_path / "part" / "run.json").read_text())["status"] == "interrupted"
    rest = train(settings, data, tmp_path / "part", resume=True)
    assert rest.steps == whole.total and rest.miou == whole.miou
    assert_same_run(tmp_path / "whole", tmp_path / "part")
    resumed = read_metrics(tmp_path / "part")
    assert resumed == read_metrics(tmp_path / "whole")


def test_subtypes_of_patches_reach_no_training(data: Manifest, tmp_path: Path) -> None:
    settings = small_settings("train.epochs=1", "loss.warmup=0", "loss.composite.weight=0.5")
    named = [replace(one, subtype="odd" if place % 2 else "even") for place, one in enumerate(data.records)]
    turned = [replace(one, subtype=other.subtype) for one, other in zip(named, reversed(named), strict=True)]
    train(settings, data, tmp_path / "without")
    train(settings, replace(data, records=tuple(named)), tmp_path / "with", reporter=StopAfter(2))
    train(settings, replace(data, records=tuple(turned)), tmp_path / "with", resume=True)
    assert_same_run(tmp_path / "without", tmp_path / "with")


@pytest.mark.parametrize("encoder", ["stain", "own"])
def test_the_record_keeps_who_told_morphologies_apart(encoder: str, data: Manifest, tmp_path: Path) -> None:
    settings = small_settings(
        "model.head=prototypes", "loss.composite.weight=0.5", "loss.morphology.weight=0.1",
        f"loss.morphology.encoder={encoder}", "loss.warmup=0.3",
    )  # fmt: skip
    for resume in (False, True):
        train(settings, data, tmp_path / "run", reporter=None if resume else StopAfter(4), resume=resume)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["morphologies"]["encoder"] == encoder


class Falling:
    """Stands in for `Validation.run`: every validation finds less, with thresholds and offsets of its own."""

    def __init__(self) -> None:
        self.found: list[Validated] = []

    def __call__(self, validation: Validation, model: Any) -> Validated:
        number = len(self.found) + 1
        pair = torch.tensor([0.1, 0.2]) * number, torch.tensor([0.5, -0.5]) * number
        chosen = Calibration(*pair, temperature=1.5 * number)
        record = {"miou": 90.0 / number, "mdice": 50.0, "image_level": {"f1": 50.0}}
        self.found.append(Validated(chosen, record))
        return self.found[-1]


@pytest.mark.parametrize("stop", [None, 4], ids=["whole", "resumed"])
def test_the_record_tells_one_state_the_best(
    stop: int | None, data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling, run = Falling(), tmp_path / "run"
    monkeypatch.setattr(Validation, "run", lambda self, model: falling(self, model))
    if stop is not None:
        train(small_settings(), data, run, reporter=StopAfter(stop))
        assert_tells_the_best(run, step=3)
    train(small_settings(), data, run, resume=stop is not None)
    assert len(falling.found) == 2
    assert_tells_the_best(run, step=3)
    last = json.loads((run / "checkpoints" / "last.json").read_text())
    assert last["step"] == last["calibrated"] == 6  # whatever is best, these weights go with these thresholds
    assert last["thresholds"] == pytest.approx([0.2, 0.4]) and last["temperature"] == 3


def assert_tells_the_best(run: Path, step: int) -> None:
    record = json.loads((run / "run.json").read_text())
    best = json.loads((run / "checkpoints" / "best.json").read_text())
    assert (record["valid_miou"], record["best_step"]) == (90.0, step)
    assert record["thresholds"] == pytest.approx([0.1, 0.2]) and record["offsets"] == [0.5, -0.5]
    assert (best["best"], best["step"], best["calibrated"]) == (90.0, step, step)
    assert (best["thresholds"], best["offsets"]) == (record["thresholds"], record["offsets"])
    assert best["temperature"] == record["temperature"] == 1.5


def test_a_run_stopped_before_any_validation_has_no_best(data: Manifest, tmp_path: Path) -> None:
    train(small_settings(), data, tmp_path / "run", reporter=StopAfter(1))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    keys = ("valid_miou", "best_step", "thresholds", "offsets", "temperature")
    assert [record[key] for key in keys] == [None] * 5
    assert json.loads((tmp_path / "run" / "checkpoints" / "last.json").read_text())["calibrated"] is None


def test_seconds_and_waiting_are_of_the_same_calls(data: Manifest, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small_settings(), data, run, reporter=StopAfter(2))
    last = run / "checkpoints" / "last.json"
    state = json.loads(last.read_text())
    assert 0 <= state["waited"] <= state["seconds"]
    state |= {"seconds": 1000.0, "waited": 500.0}  # as if the first call had been long, and half of it waiting
    last.write_text(json.dumps(state))
    train(small_settings(), data, run, resume=True)
    record = json.loads((run / "run.json").read_text())
    assert record["seconds"] > 1000 and record["loader_wait_share"] == pytest.approx(0.5, abs=0.1)


_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lpdseg.data.manifest import read_manifest
from lpdseg.settings import load_settings
from lpdseg.training.loop import train
from lpdseg.training.progress import Silent
class Tell(Silent):
    def step(self, done, losses):
        print(done, flush=True)
train(load_settings(Path(sys.argv[1])), read_manifest(Path(sys.argv[2])), Path(sys.argv[3]), reporter=Tell())
"""


@pytest.mark.e2e
def test_killed_run_resumes_to_the_same_parameters(data: Manifest, tmp_path: Path) -> None:
    from lpdseg.data.manifest import write_manifest
    from lpdseg.settings import as_yaml

    settings = small_settings("train.epochs=12", "train.checkpoint_minutes=0", "train.validations=3")
    (tmp_path / "settings.yaml").write_text(as_yaml(settings))
    write_manifest(data, tmp_path / "manifest.csv")
    arguments = [sys.executable, "-c", _KILLED, "settings.yaml", "manifest.csv", "killed"]
    stop_after = int(np.random.default_rng(time.time_ns()).integers(2, 22))  # of 36 steps
    with program(arguments, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        next(line for line in child.stdout if int(line) >= stop_after)
    assert child.returncode == -signal.SIGKILL

    from lpdseg.data.manifest import read_manifest

    again = read_manifest(tmp_path / "manifest.csv")
    train(settings, again, tmp_path / "whole")
    train(settings, again, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_loss_that_is_no_number_stops_and_names_the_term(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diversity = Diversity.mean
    monkeypatch.setattr(Diversity, "mean", lambda *inputs: diversity(*inputs) * torch.nan)
    with pytest.raises(TrainingError, match=r"^diversity is not a number.*step 4") as caught:
        train(small_settings("train.checkpoint_minutes=0"), data, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert all(torch.isfinite(value).all() for value in last_weights(tmp_path / "run").values())


def test_without_validation_masks_the_last_step_is_best(data: Manifest, tmp_path: Path) -> None:
    only = Manifest(CLASSES, data.split("train"), data.source)
    result = train(small_settings("train.epochs=1"), only, tmp_path / "run")
    assert result.miou is None
    state = json.loads((tmp_path / "run" / "checkpoints" / "best.json").read_text())
    assert state["step"] == result.total and state["thresholds"] == [0.5, 0.5]


def test_run_folder_is_not_overwritten(data: Manifest, tmp_path: Path) -> None:
    settings = small_settings("train.epochs=1")
    train(settings, data, tmp_path / "run", resume=True)  # a job that was put back into its queue: nothing yet
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(settings, data, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"another train\.lr"):
        train(small_settings("train.epochs=1", "train.lr=2e-3"), data, tmp_path / "run", resume=True)
    other = Manifest(CLASSES, data.records[1:], data.source)
    with pytest.raises(CheckpointError, match="data has changed"):
        train(settings, other, tmp_path / "run", resume=True)
    renamed = Manifest(TissueClasses(("a", "b")), data.records, data.source)
    with pytest.raises(CheckpointError, match="trained for the classes pink, blue"):
        train(settings, renamed, tmp_path / "run", resume=True)
    for path in (tmp_path / "run" / "checkpoints").glob("last*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="none to go on from"):
        train(settings, data, tmp_path / "run", resume=True)


def test_a_best_state_alone_is_neither_gone_on_from_nor_written_over(data: Manifest, tmp_path: Path) -> None:
    settings, states = small_settings("train.epochs=1"), tmp_path / "run" / "checkpoints"
    train(settings, data, tmp_path / "run")
    (states / "last.json").unlink()
    before = (states / "best.json").read_bytes()
    for resume in (False, True):  # so that neither sends to the other
        with pytest.raises(CheckpointError, match="none to go on from; remove it, or choose another --out"):
            train(settings, data, tmp_path / "run", resume=resume)
    assert (states / "best.json").read_bytes() == before


def test_class_that_is_never_present_is_named(data: Manifest, tmp_path: Path) -> None:
    three = TissueClasses(("pink", "blue", "green"))
    records = tuple(
        PatchRecord(r.path, (*(r.labels or ()), 0), r.split, r.patient, r.mask, r.mpp) for r in data.records
    )
    with pytest.raises(DataError, match="'green'"):
        train(small_settings(), Manifest(three, records, data.source), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_batch_must_be_shared_evenly(data: Manifest, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="multiple of 3"):
        train(small_settings(), data, tmp_path / "run", engine=Engine("cpu", devices=3))


def test_resuming_does_not_need_the_folder_of_the_first_weights(data: Manifest, tmp_path: Path) -> None:
    from lpdseg.model.encoders import build_encoder

    weights = tmp_path / "weights"
    build_encoder("resnet18", stages=3).backbone.save_pretrained(weights)  # type: ignore[operator]
    settings = small_settings(f"model.weights={weights}")

    assert train(settings, data, tmp_path / "run", reporter=StopAfter(1)).steps == 1
    for path in weights.iterdir():
        path.unlink()
    assert not train(settings, data, tmp_path / "run", resume=True).interrupted


def test_validations_may_be_switched_off(data: Manifest, tmp_path: Path) -> None:
    result = train(small_settings("train.epochs=1", "train.validations=0"), data, tmp_path / "run")
    assert result.miou is None
    assert not [row for row in read_metrics(tmp_path / "run") if row["kind"] == "valid"]


def test_gradients_that_are_no_numbers_stop_the_run_without_clipping_too(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LpdTask.forward

    def broken(self: LpdTask, batch: dict[str, torch.Tensor], done: float) -> dict[str, torch.Tensor]:
        parts = forward(self, batch, done)
        self.model.bank.weight.register_hook(lambda gradient: gradient * torch.nan)
        return parts

    monkeypatch.setattr(LpdTask, "forward", broken)
    settings = small_settings("train.clip=0")
    with pytest.raises(TrainingError, match="gradient norm is not a number"):
        train(settings, data, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed" and "gradient norm" in record["reason"]


def test_what_changes_no_parameter_may_change_when_a_run_goes_on(data: Manifest, tmp_path: Path) -> None:
    train(small_settings(), data, tmp_path / "run", reporter=StopAfter(1))
    changed = small_settings("data.cache=false", "train.log_every=3", "predict.batch=2", "model.feature_cache=0")
    assert not train(changed, data, tmp_path / "run", resume=True).interrupted


def test_a_run_from_before_there_was_a_setting_goes_on_with_its_default(data: Manifest, tmp_path: Path) -> None:
    train(small_settings(), data, tmp_path / "run", reporter=StopAfter(1))
    pointer = tmp_path / "run" / "checkpoints" / "last.json"
    state = json.loads(pointer.read_text())
    for name in ("tune", "feature_cache"):
        del state["settings"]["model"][name]
    del state["encoder"]["tune"]
    pointer.write_text(json.dumps(state))

    with pytest.raises(CheckpointError, match=r"another model\.tune \(then auto, now norm\)"):
        train(small_settings("model.tune=norm"), data, tmp_path / "run", resume=True)
    assert not train(small_settings(), data, tmp_path / "run", resume=True).interrupted


@pytest.mark.parametrize("started, now", [(True, False), (False, True)])
def test_a_run_goes_on_from_the_weights_that_auto_once_meant(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: bool, now: bool
) -> None:
    from lpdseg.model.encoders import build_encoder

    build_encoder("resnet18", stages=3).backbone.save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    settings, chosen = small_settings("model.weights=auto"), "lpdseg.training.fallback.chosen_weights"
    monkeypatch.setattr(chosen, lambda *_: str(tmp_path / "weights") if started else None)
    train(settings, data, tmp_path / "run", reporter=StopAfter(1))
    monkeypatch.setattr(chosen, lambda *_: str(tmp_path / "weights") if now else None)
    assert not train(settings, data, tmp_path / "run", resume=True).interrupted


@pytest.mark.e2e
def test_loader_processes_leave_a_signal_to_the_parent(data: Manifest, tmp_path: Path) -> None:
    from lpdseg.data.manifest import write_manifest
    from lpdseg.settings import as_yaml

    settings = small_settings("train.epochs=60", "data.workers=1")
    (tmp_path / "settings.yaml").write_text(as_yaml(settings))
    write_manifest(data, tmp_path / "manifest.csv")
    script = _KILLED.replace("train(load", "if __name__ == '__main__': train(load")
    (tmp_path / "run.py").write_text(script)
    words = [sys.executable, "run.py", "settings.yaml", "manifest.csv", "run"]
    with program(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        next(line for line in child.stdout if int(line) >= 2)
        os.killpg(child.pid, signal.SIGTERM)
        child.stdout.read()
        assert child.wait(60) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"


def test_batches_are_made_on_one_core_and_the_model_keeps_its_own() -> None:
    def threads() -> Iterator[Any]:
        yield {"threads": torch.tensor(torch.get_num_threads())}

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [int(batch["threads"]) for batch in ahead(on_one_thread(threads()), 2)] == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

"""A whole benchmark: runs are made once, gone on with, and fail alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lpdseg import api
from lpdseg.benchmark import job
from lpdseg.benchmark.job import Job, do
from lpdseg.benchmark.pool import run_in_processes
from lpdseg.benchmark.runner import Finished, run_benchmark
from lpdseg.benchmark.speed import prediction_ms
from lpdseg.data.importers import load_data
from lpdseg.data.manifest import write_manifest
from lpdseg.errors import DataError, OutputError, SettingsError, TrainingError
from lpdseg.tissue import tissue_classes
from processes import program

PATIENCE = 300
"""Seconds until a process that answers nothing counts as stuck; machines that run tests are busy."""


def heed_ctrl_c() -> None:
    """Tests may run in a shell's background, where the signal is ignored and every process inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write(folder: Path, data: Path, settings: tuple[str, ...], **changes: Any) -> Path:
    values = {
        "name": "small",
        "seeds": [0, 1],
        "reference": "LPD",
        "data": {"tiles": {"path": str(data), "set": ["data.classes='pink,blue'"]}},
        "set": list(settings),
        "variants": {"LPD": {}, "plain": {"set": ["loss.contrast.weight=0", "loss.diversity.weight=0"]}},
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def run(path: Path, **options: Any) -> tuple[Finished, list[str]]:
    told: list[str] = []
    return run_benchmark(path, path.parent / "out", device="cpu", say=told.append, **options), told


@pytest.fixture(scope="module")
def made(small_data: Path, small_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark; only to read."""
    path = write(tmp_path_factory.mktemp("bench"), small_data, (*small_settings, "train.epochs=1"))
    finished, _ = run(path)
    assert (finished.asked, finished.failed) == (4, 0)
    return path


def test_every_run_leaves_its_result_and_its_log(made: Path) -> None:
    out = made.parent / "out"
    results = json.loads((out / "results.json").read_text())
    assert [(one["variant"], one["seed"], one["status"]) for one in results["runs"]] == [
        ("LPD", 0, "finished"), ("plain", 0, "finished"), ("LPD", 1, "finished"), ("plain", 1, "finished"),
    ]  # fmt: skip
    folder = out / "runs" / results["runs"][0]["key"]
    result = json.loads((folder / "result.json").read_text())
    described = json.loads((folder / "run" / "run.json").read_text())
    assert (result["parameters"], result["training_seconds"]) == (described["parameters"], described["seconds"])
    assert result["prediction_ms"] > 0
    assert [(one["gate"], one["background"]) for one in result["records"]] == [
        ("predicted", "keep"), ("oracle", "keep"),
    ]  # fmt: skip
    assert set(result["records"][0]["by_patient"]) == {"v0", "v1"}
    log = (folder / "log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  step 3/3  loss \d", log, re.MULTILINE)
    assert log.splitlines()[-1].endswith("finished")
    text = (out / "table.md").read_text()
    assert "4 finished of 4" in text and "4 images of 2 patients are scored" in text
    assert f"{results['sections'][0]['rows'][0]['miou']['mean']:.1f} ± " in text


def test_a_second_call_trains_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made.parent / "out" / "table.md").read_bytes()
    monkeypatch.setattr(api, "train", lambda *args, **options: pytest.fail("trained again"))
    finished, told = run(made)
    assert (finished.failed, told[0].split(";")[0]) == (0, "0 runs to make, 4 there already")
    assert (made.parent / "out" / "table.md").read_bytes() == before


def test_other_subtypes_are_measured_anew_and_nothing_is_trained_for_them(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    classes = tissue_classes("pink,blue")
    (tmp_path / "data").mkdir()
    manifest = load_data(small_data, classes)
    csv = tmp_path / "data" / "manifest.csv"
    write_manifest(manifest, csv)
    shared = (*small_settings, "train.epochs=0.3")
    path = write(tmp_path, csv, shared, seeds=[0], variants={"LPD": {}}, coverage=True)

    def told() -> tuple[str, list[str]]:
        first = run(path)[1][0].split(";")[0]
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        measures = results["runs"][0]["coverage"]["measures"]
        return first, sorted({one["name"] for one in measures["subtypes"]})

    assert told() == ("1 runs to make, 0 there already", [])
    weights = sorted((tmp_path / "out" / "runs").glob("*/run/checkpoints/weights-*.safetensors"))
    before = [one.stat() for one in weights]
    for names in (("odd", "even"), ("new", "old")):
        records = tuple(replace(one, subtype=names[n % 2]) for n, one in enumerate(manifest.records))
        write_manifest(replace(manifest, records=records), csv)
        assert told() == ("1 runs to make, 0 there already", sorted(names))
        assert told() == ("0 runs to make, 1 there already", sorted(names))
    assert weights and [one.stat() for one in weights] == before


def test_a_failing_run_is_a_row_and_the_others_go_on(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {"LPD": {}, "unlucky": {"set": ["train.lr=0.3"]}, "buggy": {"set": ["train.lr=0.4"]}}
    path = write(tmp_path, small_data, (*small_settings, "train.epochs=0.3"), variants=variants, seeds=[0])
    train = api.train

    def sometimes(*args: Any, preset: Any, **options: Any) -> Any:
        if preset.train.lr == 0.3:
            raise TrainingError("the loss is no number")
        if preset.train.lr == 0.4:
            raise KeyError("a bug")
        return train(*args, preset=preset, **options)

    monkeypatch.setattr(api, "train", sometimes)
    finished, told = run(path)
    assert (finished.asked, finished.failed) == (3, 2)
    assert any("tiles, unlucky, seed 0: failed: the loss is no number" in line for line in told)
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| unlucky | failed: the loss is no number |" in text
    assert "failed: KeyError: 'a bug' (a fault of the program; log.txt has the traceback)" in text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    bug = next(one for one in results["runs"] if one["variant"] == "buggy")
    assert "Traceback" in (tmp_path / "out" / "runs" / bug["key"] / "log.txt").read_text()

    monkeypatch.setattr(api, "train", train)  # the next call tries again what has failed, and only that
    finished, told = run(path, only=["unlucky"])
    assert (finished.asked, finished.failed) == (1, 0) and told[0].startswith("1 runs to make, 0 there")
    assert "failed: KeyError" in (tmp_path / "out" / "table.md").read_text()


def test_a_stopped_training_is_gone_on_with(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, small_data, small_settings, variants={"LPD": {}}, seeds=[0])

    class Interrupted(job.Log):
        """Asks to stop once, as Ctrl-C does."""

        def step(self, done: int, losses: dict[str, float] | None) -> None:
            super().step(done, losses)
            if done == 2:
                signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(job, "Log", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(path)
    assert "| LPD | to come |" in (tmp_path / "out" / "table.md").read_text()
    finished, _ = run(path)
    assert finished.failed == 0
    (log,) = (tmp_path / "out" / "runs").glob("*/log.txt")
    told = log.read_text()
    assert "stopped" in told and "training goes on after step 2 of 6" in told and "step 3/6" in told


def test_a_result_names_every_state_of_the_code_that_made_it(tmp_path: Path) -> None:
    assert [job._states(tmp_path, code) for code in ("abc", "abc", "def", "abc")] == [
        ["abc"], ["abc"], ["abc", "def"], ["abc", "def", "abc"],
    ]  # fmt: skip


def test_everything_is_checked_before_the_first_run(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "train", lambda *args, **options: pytest.fail("trained"))
    wrong = {"LPD": {}, "late": {"set": ["train.epochs=-1"]}}
    with pytest.raises(SettingsError, match=r"variant 'late' on 'tiles': .*train.epochs"):
        run(write(tmp_path / "a", small_data, small_settings, variants=wrong))
    with pytest.raises(DataError, match="has no 'test' patches"):
        run(write(tmp_path / "b", small_data, small_settings, split="test"))
    with pytest.raises(SettingsError, match="'nothing' is no variant"):
        run(write(tmp_path / "c", small_data, small_settings), only=["nothing"])


def test_only_one_benchmark_works_in_a_folder(made: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (made.parent / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is running a benchmark in "):
            run(made)


def test_processes_do_the_same_and_one_that_dies_is_a_failure(made: Path, tmp_path: Path) -> None:
    key = json.loads((made.parent / "out" / "results.json").read_text())["runs"][0]["key"]
    one = as_job(made, "a run")
    good, bad = tmp_path / "good", tmp_path / "bad"
    ended: list[Path] = []
    broken = Job(**{**one.__dict__, "threads": -1})  # PyTorch refuses that
    run_in_processes({good: one, bad: broken}, 2, lambda folder: None, ended.append)
    assert sorted(ended) == [bad, good]
    found = json.loads((good / "result.json").read_text())
    expected = json.loads((made.parent / "out" / "runs" / key / "result.json").read_text())
    assert found["records"] == expected["records"] and found["hardware"]["threads"] == 1
    assert not (bad / "result.json").exists()
    assert "RuntimeError" in json.loads((bad / "failure.json").read_text())["reason"]
    (bad / "failure.json").unlink()
    dead = Job(**{**one.__dict__, "settings": {"predict": {"batch": 0}}})
    assert not do(dead, bad)
    assert "predict.batch = 0" in json.loads((bad / "failure.json").read_text())["reason"]


def test_ctrl_c_asks_the_processes_to_save(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    settings = (*small_settings, "train.epochs=200", "train.validations=0")
    path = write(tmp_path, small_data, settings)
    command = [
        sys.executable,
        "-m",
        "lpdseg",
        "benchmark",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        "2",
    ]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with program(command, preexec_fn=heed_ctrl_c, **pipes) as process:
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            logs = [log.read_text() for log in (tmp_path / "out" / "runs").glob("*/log.txt")]
            if sum("step 2/" in log for log in logs) == 2:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert "the same command goes on from there" in told and told.count("\n") == 1
    described = [json.loads(one.read_text()) for one in (tmp_path / "out" / "runs").glob("*/run/run.json")]
    assert [one["status"] for one in described] == ["interrupted", "interrupted"]
    assert not list((tmp_path / "out" / "runs").glob("*/failure.json"))


def test_a_process_ends_with_the_one_that_started_it(made: Path, tmp_path: Path) -> None:
    one = as_job(made, "orphan")
    long = Job(**{**one.__dict__, "settings": one.settings | {"train": one.settings["train"] | {"epochs": 500}}})
    folder = tmp_path / "orphan"
    folder.mkdir()
    long.write(folder)
    words = [sys.executable, "-m", "lpdseg.benchmark.job", str(folder)]
    until = time.monotonic() + PATIENCE
    with program(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        with process.stdin:
            while not ((folder / "log.txt").exists() and "step 1/" in (folder / "log.txt").read_text()):
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.05)
        assert process.wait(timeout=PATIENCE) == 130
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "interrupted"


def test_prediction_time_is_positive_and_per_image(small_run: Path, small_data: Path) -> None:
    manifest = load_data(small_data, tissue_classes("pink,blue"))
    assert 0 < prediction_ms(api.load(small_run, device="cpu"), manifest, "valid") < 5000


def as_job(made: Path, title: str) -> Job:
    """The first run of the finished benchmark as a job with one thread."""
    results = json.loads((made.parent / "out" / "results.json").read_text())
    described = made.parent / "out" / "runs" / results["runs"][0]["key"] / "run" / "run.json"
    values = json.loads(described.read_text())
    return Job(
        title=title,
        settings=values["settings"],
        source=values["data"]["source"],
        classes=values["data"]["classes"],
        split="valid",
        coverage=False,
        device="cpu",
        threads=1,
    )

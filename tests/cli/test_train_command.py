"""`lpdseg train` as a user runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lpdseg.cli.main import main
from processes import program


def heed_ctrl_c() -> None:
    """Tests may run in a shell's background, where the signal is ignored and every process inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def words(data: Path, out: Path, settings: tuple[str, ...], *more: str) -> list[str]:
    changes = [word for setting in settings for word in ("--set", setting)]
    start = ["train", "--data", str(data), "--out", str(out), "--device", "cpu", "--classes", "pink,blue"]
    return [*start, *changes, *more]


def test_training_tells_where_the_run_is_and_what_to_type_next(
    small_data: Path,
    small_settings: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "my run"
    arguments = words(small_data, out, small_settings, "--epochs", "1")
    monkeypatch.setenv("LPDSEG_DATA", str(small_data))
    assert main([*arguments[:1], *arguments[3:]]) == 0  # the data comes from the environment
    shown = capsys.readouterr()
    assert re.match(r"Trained 3 steps in \d+ s; best validation mIoU \d+\.\d\d %\.\n", shown.out)
    assert f"lpdseg evaluate '{out}' --data {small_data} --split valid" in shown.out
    assert "valid mIoU" in shown.err and "bfloat16" not in shown.err
    assert main([*arguments, "--resume", "--quiet"]) == 0  # finished already: nothing to do, and no error
    assert capsys.readouterr().err == ""


def test_ctrl_c_saves_says_how_to_go_on_and_goes_on(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = words(small_data, out, small_settings, "--epochs", "40", "--set", "train.validations=0", "--quiet")
    until, metrics = time.monotonic() + 120, out / "metrics.jsonl"
    with program(
        [sys.executable, "-m", "lpdseg", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=heed_ctrl_c,
    ) as process:
        while not (metrics.exists() and metrics.read_text()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    found = re.fullmatch(r"lpdseg: stopped; step (\d+) of 120 is saved; go on with: lpdseg (.*)\n", told)
    assert found and shown == ""
    step = int(found[1])
    assert 0 < step < 120
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert found[2] == f"train --data {small_data} --out {out} --resume"
    assert main([*found[2].split(), "--device", "cpu", "--quiet"]) == 0
    assert "Trained 120 steps in" in capsys.readouterr().out


def test_corrections_are_of_a_run_and_of_its_data(
    prototype_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "corrections.geojson"
    line = {"type": "LineString", "coordinates": [[2, 2], [9, 9]]}
    properties = {"image": "<i>x.png", "classification": {"name": "pink"}}
    file.write_text(json.dumps([{"type": "Feature", "geometry": line, "properties": properties}]))
    command = words(small_data, tmp_path / "run", (), "--corrections", str(file))
    assert main(command) > 0
    assert "corrections are of what a run has predicted; name it with --from" in capsys.readouterr().err
    assert main([*command, "--from", str(prototype_run)]) > 0
    told = capsys.readouterr().err
    assert "corrections.geojson corrects the image '<i>x.png', which" in " ".join(told.split())
    assert "Traceback" not in told and not (tmp_path / "run").exists()


def test_after_corrections_the_split_that_nothing_was_chosen_on_is_advised(
    prototype_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, file = shutil.copytree(small_data, tmp_path / "data"), tmp_path / "run", tmp_path / "c.geojson"
    line = {"type": "LineString", "coordinates": [[2, 2], [9, 9]]}
    properties = {"image": "t0_0[01]", "classification": {"name": "blue"}}
    file.write_text(json.dumps([{"type": "Feature", "geometry": line, "properties": properties}]))
    start = (
        f"train --data {data} --from {prototype_run} --corrections {file} --epochs 1 --device cpu --quiet".split()
    )
    for name in ("valid", "test"):
        if name == "test":
            shutil.copytree(data / "valid", data / "test")
        run = out.with_name(name)
        assert main([*start, "--out", str(run)]) == 0
        shown = capsys.readouterr().out
        assert f"lpdseg evaluate {run} --data {data} --split {name}" in shown
        assert f"lpdseg report {run} --data {data} --out {run}.html" in shown
        assert f"lpdseg view {prototype_run} {data} --compare {run}" in shown

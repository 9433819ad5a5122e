"""File names that are no UTF-8, as from old shares, from one end of the command line to the other."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lpdseg.cli import progress
from lpdseg.cli.main import main
from lpdseg.durations import Pacer
from lpdseg.folders import tell as tell_notes
from lpdseg.training.progress import Lines
from lpdseg.workflows.slides.result import SlideResult

RAW, SHOWN = os.fsdecode(b"Sch\xe4fer 12"), r"Sch\xE4fer 12"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_patches(small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = Path(shutil.copytree(small_data / "valid" / "img", tmp_path / "images"))
    first = sorted(images.iterdir())[0]
    first.rename(images / f"{RAW}.png")
    out = tmp_path / os.fsdecode(b"r\xe9sultats")
    arguments = ["segment", str(small_run), str(images), "--out", str(out), "--device", "cpu", "--overlay"]
    for _ in range(2):  # again over what is there
        assert main(arguments) == 0
    assert (out / "masks" / f"{RAW}.png").is_file()
    assert any(row["image"].endswith(f"{SHOWN}.png") for row in rows(out / "summary.csv"))
    record = json.loads((out / "segment.json").read_text(encoding="utf-8"))
    assert (record["status"], record["segmented"]) == ("finished", 4)


def test_slides(small_run: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.full((128, 128, 3), 246, np.uint8)
    pixels[20:100, 20:100] = (220, 120, 170)
    (tmp_path / "in").mkdir()
    for name in (RAW, "z"):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", pixels, photometric="rgb", tile=(64, 64), metadata=None)
    arguments = [
        "segment", str(small_run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cpu",
        "--to", "geojson,ome-tiff,zarr,png,csv", "--mpp", "0.5", "--model-mpp", "0.5", "--workers", "0",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert [row["status"] for row in rows(tmp_path / "out/summary.csv")] == ["segmented"] * 2
    assert {path.name for path in (tmp_path / "out/geojson").iterdir()} == {f"{SHOWN}.geojson", "z.geojson"}
    assert main(arguments) == 0
    assert [row["status"] for row in rows(tmp_path / "out/summary.csv")] == ["kept"] * 2


def test_a_check_prints_and_writes(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "d" / "train" / "AB"[number % 2] / f"q{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if number == 0 else "RGB", (16, 16), 100 + number).save(path)
    (tmp_path / "d/train/A/q0.png").rename(tmp_path / "d/train/A" / f"{RAW}.png")
    command = [
        sys.executable,
        "-m",
        "lpdseg",
        "data",
        "check",
        str(tmp_path / "d"),
        "--json",
        str(tmp_path / "c.json"),
    ]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert SHOWN.encode() in done.stdout
    report = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert any(SHOWN in file for problem in report["errors"] for file in problem["files"])


STEERS = "a\x1b[2J\nlpdseg: all is well.svs"
"""A name that would clear a terminal and add a line of its own."""


def test_lines_on_the_way_steer_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "Pacer", lambda first: Pacer(first=0))
    with progress.stages() as say:
        say(STEERS, 1, 2)
    with progress.slide_stages() as (tell, ended):
        tell(1, 1, Path(STEERS), "reading", None)
        ended(SlideResult(Path(STEERS), "kept", f"{STEERS} lacks 3 tiles"))
    Lines(Console(stderr=True), Pacer(first=1e9)).note(STEERS)
    monkeypatch.setattr(logging.getLogger("lpdseg"), "handlers", [])  # of commands that ran before in this process
    with caplog.at_level("WARNING", "lpdseg"):
        tell_notes([f"{STEERS} is passed over", "100 % of the rest"])
    lines = capsys.readouterr().err.splitlines() + [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "all is well.svs" in line]) == 4, lines
    assert "100 % of the rest" in lines
    assert all(line.isprintable() and not line.startswith("lpdseg:") for line in lines), lines


def test_notes_of_commands_steer_no_terminal(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    first = sorted((data / "train").iterdir())[0]
    (first.parent / "x\x1b[2J\ny[10].png").write_bytes(b"no image")
    assert main(["data", "check", str(data), "--classes", "pink,blue"]) == 1
    shown = capsys.readouterr()
    assert "x�[2J�y" in shown.out and "\x1b" not in shown.out + shown.err

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lpdseg.cli.data import app
from lpdseg.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for name in (*(f"p1_{index}[110].png" for index in range(7)), "p2_0[011].png"):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (4, 4, 3), np.uint8)).save(tmp_path / "train" / name)
    return tmp_path


def test_a_sound_data_set_exits_with_0_and_a_verdict(folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(folder), "--classes", "glas"])
    assert result.exit_code == 0, result.output
    assert "label STR" in result.stdout
    assert "BEN" in result.stdout.splitlines()[-2]  # the class that every patch has
    assert result.stdout.splitlines()[-1] == "No errors in 8 patches, 2 warnings."


def test_errors_exit_with_1_and_show_five_files_and_the_total(folder: Path) -> None:
    for path in (folder / "train").glob("p1_*.png"):
        Image.new("RGBA", (4, 4)).save(path)
    out = folder / "report.json"
    result = CliRunner().invoke(app, ["check", str(folder), "--json", str(out), "--workers", "1"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("error: "))
    assert lines[start] == "error: Images that are not 8-bit RGB (7)"
    assert lines[start + 1] == "    train/p1_0[110].png has mode RGBA; convert it to 8-bit RGB without alpha"
    assert lines[start + 6] == "    … and 2 more; --json FILE lists all"
    assert lines[-1] == "Do not train on this yet: 1 error and 2 warnings in 8 patches."
    assert any(line.startswith("note: ") and "--classes" in line for line in lines)
    report = json.loads(out.read_text())
    assert report["ok"] is False
    assert len(report["errors"][0]["files"]) == 7


def test_a_missing_folder_is_left_to_the_caller_as_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path / "none")])
    assert isinstance(result.exception, DataError)


def test_help_needs_no_image_library() -> None:
    code = "import sys, lpdseg.cli.data; sys.exit(any(name in sys.modules for name in ('PIL', 'numpy', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

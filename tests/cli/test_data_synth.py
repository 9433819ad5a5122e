"""`lpdseg data synth`, and the thin wire of `lpdseg demo`."""

import inspect
from pathlib import Path

import pytest
from rich.console import Console

from lpdseg.cli.data import synth
from lpdseg.cli.main import main
from lpdseg.data.importers import load_data
from lpdseg.data.synthetic import PATCHES
from lpdseg.insight import demo


def test_synth_makes_a_data_set_and_goes_on_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "synth", str(tmp_path / "d"), "--size", "56", "--workers", "1", "--seed", "4"]
    counts = ["--train", "3", "--valid", "1", "--test", "0"]
    assert main([*arguments, *counts]) == 0
    expected = f"3 train, 1 valid patches of 56 px at 0.5 microns per pixel, in {tmp_path / 'd'}\n"
    assert capsys.readouterr() == (expected, "")
    assert all(record.mask is None for record in load_data(tmp_path / "d").split("train"))
    data = load_data(tmp_path / "d")
    assert len(data.split("train")) == 3 and data.split("valid")[0].mask is not None
    assert main([*arguments, *counts]) == 0
    assert main([*arguments, *counts, "--train-masks"]) == 0
    assert all(record.mask is not None for record in load_data(tmp_path / "d").split("train"))
    assert main([*arguments, "--train", "4"]) == 1
    assert "was generated with patches" in capsys.readouterr().err


def test_the_defaults_are_those_of_the_generator() -> None:
    """They are written out in the options, since importing the generator would slow `--help` down."""
    options = inspect.signature(synth).parameters
    assert {split: options[split].default for split in PATCHES} == dict(PATCHES)


def test_demo_is_wired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[tuple[Path, bool]] = []

    def run_demo(out: Path, console: Console, quick: bool = False) -> Path:
        called.append((out, quick))
        return out

    monkeypatch.setattr(demo, "run_demo", run_demo)
    assert main(["demo", "--out", str(tmp_path), "--quick"]) == 0
    assert called == [(tmp_path, True)]

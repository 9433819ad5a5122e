"""`lpdseg settings`, and the page of all settings."""

from pathlib import Path

import pytest

from lpdseg.cli.main import main
from lpdseg.cli.settings_text import as_page, entries
from lpdseg.plain_yaml import read_yaml
from lpdseg.settings import load_settings, preset_names

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["settings", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("preset", [None, *preset_names()])
@pytest.mark.parametrize("changed", [False, True])
def test_what_is_printed_can_be_trained_with(
    preset: str | None, changed: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [*([] if preset is None else [preset]), *(["--changed"] if changed else [])]
    (tmp_path / "own.yaml").write_text(shown(capsys, *arguments), encoding="utf-8")
    assert load_settings(tmp_path / "own.yaml") == load_settings(preset)


def test_what_differs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--set", "train.lr=0.25", "--set", "predict.views=[plain]").splitlines()
    rate = next(line for line in lines if line.strip().startswith("lr:"))
    assert "lr: 0.25" in rate and "default: 0.002" in rate
    views = next(line for line in lines if line.strip().startswith("views:"))
    assert "views: [plain]" in views and "one of plain, flip, dark" in views and "default: [plain, flip]" in views
    short = shown(capsys, "--changed", "--set", "train.lr=0.25", "--set", "loss.contrast.chunk=2")
    assert read_yaml(short) == {"train": {"lr": 0.25}, "loss": {"contrast": {"chunk": 2}}}


def test_unknown_presets_and_settings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "bcs"]) == 2 == main(["settings", "--set", "train.lrr=1"])
    assert "did you mean 'bcss'" in (told := capsys.readouterr().err) and "did you mean 'train.lr'" in told
    assert told.count("\n") == 2


def test_every_setting_says_what_it_is() -> None:
    assert [entry.name for entry in entries() if not entry.about] == []


def test_the_page_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text(encoding="utf-8") == as_page()

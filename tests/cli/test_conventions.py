"""What every command has in common: short options, `--quiet`, completion, and exit codes that are documented."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import lpdseg
from lpdseg.cli.main import app, main
from lpdseg.cli.progress import stages
from lpdseg.cli.quietly import is_quiet, quietly
from lpdseg.durations import Pacer


def leaves(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += leaves(command, (*before, name)) if hasattr(command, "commands") else [(*before, name)]
    return found


COMMANDS = leaves(typer.main.get_command(app))


def test_short_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-V"]) == 0
    assert capsys.readouterr().out == f"lpdseg {lpdseg.__version__}\n"
    assert main(["-h"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for code in ("0 done", "1 data, weights", "2 a setting or option", "130 stopped"):
        assert code in shown, code
    assert "--install-completion" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_short_help_and_can_be_quiet(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "-h"]) == 0
    shown = capsys.readouterr().out
    assert "--quiet" in shown and "Usage: lpdseg" in shown


def test_quiet_is_of_one_call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdseg.cli.progress.Pacer", lambda first: Pacer(first=0))
    seen = []

    @quietly
    def work() -> None:
        with stages() as progress:
            progress("counting [sheep]", 1, 3)
        seen.append(is_quiet())
        if len(seen) == 3:
            raise ValueError

    work(quiet=True)
    assert capsys.readouterr().err == ""
    work(quiet=False)
    assert capsys.readouterr().err == "counting [sheep] 1/3\n"
    with pytest.raises(ValueError):
        work(quiet=True)
    assert seen == [True, False, True] and not is_quiet()


def test_quiet_leaves_the_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sizes = ["--size", "56", "--train", "2", "--valid", "1", "--test", "1", "--workers", "1"]
    assert main(["data", "synth", str(tmp_path / "data"), *sizes, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and "2 train, 1 valid, 1 test patches" in shown.out
    assert main(["doctor", "-q"]) == 0
    told = capsys.readouterr().out
    assert "Everything that is needed is here." in told and "Python" not in told


def test_shells_can_complete() -> None:
    asked = os.environ | {"_LPDSEG_COMPLETE": "complete_bash", "COMP_WORDS": "lpdseg tra", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "lpdseg"], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["train"], done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["settings", "paper"], 0),
        (["evaluate", "no-run", "--data", "no-data"], 1),
        (["train", "--data", "d", "--out", "o", "--preset", "no-preset"], 2),
        (["train", "--no-option"], 2),
    ],
)
def test_exit_codes(
    words: list[str], code: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    assert ("lpdseg: " in capsys.readouterr().err) == (code != 0)


def test_idle_threads_sleep_unless_somebody_chose() -> None:
    code = "import os; from lpdseg.cli.main import main; main(['-V']); print(os.environ['OMP_WAIT_POLICY'])"
    bare = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")}
    for more, policy in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=bare | more, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[-1] == policy

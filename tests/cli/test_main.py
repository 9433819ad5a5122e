"""The front of the command line: help, version, and one line for each way that a command can end badly."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lpdseg
from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.cli.stop import Stopped
from lpdseg.errors import DataError, SettingsError

COMMANDS = (
    "demo", "data", "settings", "train", "evaluate", "segment", "view", "report", "prototypes", "export",
    "benchmark", "verify", "doctor", "licenses",
)  # fmt: skip
TRAIN = ["train", "--data", "d", "--out", "o", "--quiet"]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Runs `lpdseg train` with an `api.train` that raises."""

    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(api, "train", fail)
    return main(TRAIN)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lpdseg {lpdseg.__version__}\n"
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = [line.split()[1] for line in text[text.index("Commands") :].splitlines() if line.startswith("│ ")]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["data", "check"], ["data", "synth"]])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Usage: lpdseg" in capsys.readouterr().out


def test_help_needs_no_pytorch() -> None:
    code = (
        "import sys\nfrom lpdseg.cli.main import main\n"
        "for command in ('demo', 'train', 'evaluate', 'segment', 'prototypes', 'benchmark', 'doctor', 'data'):\n"
        "    main([command, '--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--out", "o"], "Missing option '--data'"),
        (["train", "--sede", "1"], "--seed"),
        (
            ["evaluate", "run", "--data", "d", "--gate", "open"],
            "'open' is not one of 'predicted', 'oracle', 'none'",
        ),
        (["segment", "run"], "see lpdseg segment --help"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LPDSEG_DATA", raising=False)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("lpdseg: ") and shown.err.count("\n") == 1
    assert told in shown.err


def test_no_command_is_answered_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "demo" in shown.out + shown.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("a.png is damaged"), 1, "lpdseg: a.png is damaged"),
        (SettingsError("unknown setting"), 2, "lpdseg: unknown setting"),
        # This is how a loader process hands on what went wrong in it.
        (
            DataError(
                "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                '  File "x.py", line 1\nlpdseg.errors.DataError: a.png is damaged\n'
            ),
            1,
            "lpdseg: a.png is damaged",
        ),
        (Stopped("3 masks are whole"), 130, "lpdseg: stopped; 3 masks are whole"),
        (KeyboardInterrupt(), 130, "lpdseg: stopped; nothing is kept yet"),
        (
            OSError(errno.ENOSPC, "No space left on device", "o/x"),
            1,
            "lpdseg: no space is left for o/x; free space or choose another folder",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "o"),
            1,
            "lpdseg: permission is missing for o; change rights or choose another folder",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(monkeypatch, error) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_of_several_processes_the_first_one_speaks(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, line in (("1", ""), ("0", "lpdseg: unknown setting\n")):
        monkeypatch.setenv(name, rank)
        assert failing(monkeypatch, SettingsError("unknown setting")) == 2
        assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "I/O error")])
def test_a_bug_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        failing(monkeypatch, error)


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    """`lpdseg licenses | head -1`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        result = subprocess.run(
            [sys.executable, "-m", "lpdseg", "--help"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr
    assert result.returncode in (0, 1)

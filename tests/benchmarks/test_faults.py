"""What the faults' script takes for the same result, for half a file, and for a command that was killed."""

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faults"


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("run", None)
    yield importlib.import_module("run")
    for name in ("run", "cases", "comparing"):
        sys.modules.pop(name, None)


def write(folder: Path, seconds: float, mask: bytes = b"mask", **more: object) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(mask)
    (folder / "run.json").write_text(json.dumps({"status": "finished", "loss": 0.5, "seconds": seconds} | more))
    return folder


def test_records_may_tell_another_time_and_nothing_else(faults: ModuleType, tmp_path: Path) -> None:
    first, second = (faults.held(write(tmp_path / name, time)) for name, time in (("a", 1.0), ("b", 2.0)))
    wanted = faults.steady(first, second)
    assert faults.differences(wanted, faults.held(write(tmp_path / "c", 3.0, resumed=1))) == []
    assert faults.differences(faults.steady(first, first), second) == []  # that agreed by chance
    assert faults.differences(wanted, faults.held(write(tmp_path / "d", 1.0, loss=0.6))) == [
        "run.json differs in /0/loss"
    ]
    assert faults.differences(wanted, faults.held(write(tmp_path / "e", 1.0, b"mas"))) == ["a.png differs"]
    (tmp_path / "c" / ".a.png.12.tmp.png").touch()
    (tmp_path / "c" / "a.png").unlink()
    assert faults.differences(wanted, faults.held(tmp_path / "c")) == ["lacks a.png", "left .a.png.12.tmp.png"]


def test_half_files_and_false_ends_are_seen(faults: ModuleType, tmp_path: Path) -> None:
    first, second = (faults.held(write(tmp_path / name, time)) for name, time in (("a", 1.0), ("b", 2.0)))
    wanted = faults.steady(first, second)

    def told(name: str, *values: object, **more: object) -> list[str]:
        return list(faults.half_done(SimpleNamespace(out=write(tmp_path / name, 9.0, *values, **more)), wanted))

    assert told("c") == told("d", status="running", loss=None) == []
    assert told("e", b"ma") == ["a.png is half-written"]
    assert told("f", loss=0.1) == ["run.json says that it is finished and is not"]


def test_a_command_is_killed_with_all_its_processes(faults: ModuleType) -> None:
    def kill(process: int, cpu: float) -> bool:
        if os.getpgid(process) != process:  # it has no group of its own yet
            return False
        os.killpg(process, signal.SIGKILL)
        return True

    ended, acted = faults.run_command(["--version"], kill)
    assert (ended.code, acted) == (-signal.SIGKILL, True)
    ended, acted = faults.run_command(["settings", "--preset", "none-such"], lambda process, cpu: False)
    assert (ended.code, acted) == (2, False) and "lpdseg: " in ended.said


def test_what_tidies_up_after_workers_is_none_also_before_it_has_its_name(faults: ModuleType) -> None:
    """A process that was forked and does not yet run another program is called as its parent."""
    asleep = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        asleep.start()
        assert len(faults._children(os.getpid())) >= 3
        while asleep.pid not in faults.workers(os.getpid()):
            assert asleep.is_alive()
        assert other.pid not in faults.workers(os.getpid())
    finally:
        for one in (asleep, other):
            one.kill()
        asleep.join()
        other.wait()


def test_files_are_cut_only_where_a_command_reads_them_until_late(faults: ModuleType) -> None:
    """Patches that are kept decoded are not opened again."""
    for case in faults.CASES:
        words = case.words(Path("room"), Path("out"))
        kept = words[0] == "train" and "data.cache=false" not in words
        kept = kept or words[0] == "export" or words[1] in ("synth", "curves")  # which read no images
        assert faults.possible("file cut short", case) is not kept, case.name
        assert faults.possible("full disk", case)


def test_a_traceback_is_told_by_its_error_and_not_by_what_was_said_last(faults: ModuleType) -> None:
    said = (
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    f()\nOSError: gone\n\nnext:\n  lpdseg'
    )
    assert list(faults.sentence(faults.Ended(0, said, 1.0))) == [
        'traceback: OSError: gone File "a.py", line 3, in f'
    ]
    assert list(faults.sentence(faults.Ended(1, "lpdseg: no such file", 1.0))) == []
    assert list(faults.sentence(faults.Ended(1, "no such file", 1.0))) == ["ended with 1 without a sentence"]

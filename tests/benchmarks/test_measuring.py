"""The benchmarks' clocks: what they divide by what, and in which process."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def measuring(load_benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))  # its processes import it by name
    return load_benchmark("measuring")


def test_turns_are_taken_in_rounds_after_warming_up(measuring: ModuleType) -> None:
    made: list[str] = []
    calls = {name: partial(made.append, name) for name in ("slow", "fast")}
    times = measuring.take_turns(calls, 2, ["fast"])
    assert made == ["fast", "slow", "fast", "slow", "fast"]
    assert {name: len(values) for name, values in times.items()} == {"slow": 2, "fast": 2}


def test_ratios_are_of_the_same_round(measuring: ModuleType) -> None:
    times = {"slow": [4.0, 9.0], "fast": [2.0, 3.0]}
    assert measuring.ratios(times, "slow", "fast") == [2.0, 3.0]
    assert measuring.spread([2.0, 3.0, 7.0], 1, "x") == "3.0x (2.0 to 7.0)"
    assert measuring.spread([2.0], 2) == "2.00"


def test_each_call_has_a_process_of_its_own_that_ends(measuring: ModuleType, tmp_path: Path) -> None:
    builders = {name: partial(partial, _leave_number, tmp_path / name) for name in ("a", "b")}
    with measuring.processes(builders) as calls:
        for call in calls.values():
            call()
            call()
    numbers = {int((tmp_path / name).read_text()) for name in builders}
    assert len(numbers) == 2 and os.getpid() not in numbers
    deadline = time.monotonic() + 10
    while any(_alive(number) for number in numbers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(number) for number in numbers)


def _leave_number(path: Path) -> None:
    path.write_text(str(os.getpid()))


def _alive(number: int) -> bool:
    state = Path(f"/proc/{number}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_lack_of_memory_is_told_from_a_fault(measuring: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nif sys.argv[1] == 'die': os.kill(os.getpid(), 9)\nprint(float(sys.argv[1]))")
    assert measuring.in_a_process(script, "2.5") == 2.5
    assert measuring.in_a_process(script, "die") is None
    with pytest.raises(RuntimeError, match="could not convert"):
        measuring.in_a_process(script, "two")


def test_memory_counts_from_the_call_on(measuring: ModuleType) -> None:
    import subprocess

    code = "import measuring; print(measuring.peak_above(lambda: bytearray(64 * 2**20)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2] / "benchmarks",
        capture_output=True,
        text=True,
        check=True,
    )
    assert 60 < float(done.stdout) < 80

"""The benchmarks' clocks: what they divide by what, and in which process."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def measuring(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
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

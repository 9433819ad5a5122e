"""Clocks, rates and peaks for the benchmarks: medians with their spread, and ratios of calls that took turns."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Call = Callable[[], object]


def seconds(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def take_turns(calls: Mapping[str, Call], rounds: int, warm: Sequence[str] = ()) -> dict[str, list[float]]:
    """Seconds of each call in each round; all calls of a round follow one another, so that noise hits all of them.

    Those in `warm` are made once before: what is done only once must not be counted.
    """
    for name in warm:
        calls[name]()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def ratios(times: Mapping[str, Sequence[float]], slow: str, fast: str) -> list[float]:
    """How many times longer `slow` took than `fast`, round by round."""
    return [a / b for a, b in zip(times[slow], times[fast], strict=True)]


def spread(values: Sequence[float], digits: int = 1, unit: str = "") -> str:
    """`median (least to most)`."""
    middle = f"{statistics.median(values):.{digits}f}{unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def peak_above(call: Call) -> float:
    """MiB by which this process grew beyond what it held before the call, at the worst moment; once per process."""
    before = resident()
    call()
    return peak() - before


def peak(process: int | str = "self") -> float:
    """MiB of a process at its largest; getrusage would begin with the peak of the process that started it."""
    return _status("VmHWM", process)


def resident(process: int | str = "self") -> float:
    """MiB that a process holds now."""
    return _status("VmRSS", process)


def processor(process: int) -> float:
    """Seconds that a process has had of any core, which hardly depend on what else the machine does."""
    told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _status(name: str, process: int | str = "self") -> float:
    """A line of Linux's account of a process, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def in_a_process(script: Path, *words: str) -> float | None:
    """The number that a script prints as its last line; None where it was killed, as lack of memory does."""
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return None
    if done.returncode > 0:
        raise RuntimeError(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))

"""Gives many inputs to every parser and writes what came of it: `nice python benchmarks/fuzz/run.py --out FILE`.

`--target NAME …` runs some alone, `--inputs N` and `--seconds S` bound each. A process that dies or hangs is a
failure and is started anew. The first input of each failure lies in `--keep`, its trace beside it.
"""

import argparse
import json
import mmap
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from child import HEAD, SIZE
from fuzzing import HERE, HUNG, MOST_BYTES, TARGETS

INPUTS = {"text": 100_000, "image": 15_000, "slide": 10_000}
STUCK = 1.5 * HUNG
"""Seconds of processor time on one input for a process that does not end it itself; by the clock, where it waits,
ten times as long."""


@dataclass
class Result:
    """Of one target."""

    name: str
    kind: str
    tried: int = 0
    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    starts: int = 0
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)


def kind_of(name: str) -> tuple[str, float]:
    """What stands in the file of a target, which is not imported here."""
    lines = (HERE / "targets" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(" = ", 1) for line in lines if line.startswith(("KIND = ", "SHARE = ")))
    return said["KIND"].strip('"'), float(said.get("SHARE", 1))


def run_target(name: str, inputs: int, seconds: float, seed: int, keep: Path) -> Result:
    """One target until it had its inputs or its time."""
    result = Result(name, kind_of(name)[0])
    began = time.monotonic()
    while result.tried < inputs and time.monotonic() - began < seconds and result.starts < 50:
        result.starts += 1
        _run_once(result, inputs - result.tried, began + seconds, seed + result.starts)
    result.seconds = time.monotonic() - began
    for number, failure in enumerate(result.failures.values(), 1):
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{name}-{number}.bin").write_bytes(bytes.fromhex(failure["input"]))
        told = f"{failure['kind']}: {failure['place']}, {failure['times']} times\n{failure['told']}\n"
        (keep / f"{name}-{number}.txt").write_text(told, encoding="utf-8", errors="backslashreplace")
    return result


def _run_once(result: Result, inputs: int, until: float, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        shared, failures = Path(place, "shared"), Path(place, "failures.json")
        shared.write_bytes(bytes(SIZE))
        words = [
            sys.executable,
            str(HERE / "child.py"),
            result.name,
            str(inputs),
            str(seed),
            str(shared),
            str(failures),
        ]
        log = Path(place, "log")
        with shared.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory, log.open("wb") as out:
            with subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=_alone()) as child:
                ended = _watched(child, memory, until)
            tried, taken, refused, size = HEAD.unpack_from(memory)
            data = memory[HEAD.size : HEAD.size + size]
        result.tried, result.taken, result.refused = (
            result.tried + tried,
            result.taken + taken,
            result.refused + refused,
        )
        if failures.is_file():
            for one in json.loads(failures.read_text(encoding="utf-8")):
                _add(result, one)
        if ended == "hang" or (child.returncode != 0 and ended != "time"):
            told = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            if not size and not tried:
                raise SystemExit(f"{result.name} could not begin:\n{told}")
            result.tried += 1
            place = f"{result.name}, status {child.returncode}"
            _add(result, {"kind": ended, "place": place, "told": told, "times": 1, "input": data.hex()})


def _watched(child: "subprocess.Popen[bytes]", memory: mmap.mmap, until: float) -> str:
    """Waits for the end: `time` where there was none before `until`, `hang`, or `crash` for any other."""
    last, cpu, since = HEAD.unpack_from(memory), _cpu(child.pid), time.monotonic()
    while child.poll() is None:
        time.sleep(0.5)
        now = HEAD.unpack_from(memory)
        if now[0] != last[0] or not now[3]:
            last, cpu, since = now, _cpu(child.pid), time.monotonic()
        hung = _cpu(child.pid) - cpu > STUCK or time.monotonic() - since > 10 * STUCK
        if hung or time.monotonic() > until:
            child.kill()
            return "hang" if hung else "time"
    return "crash"


def _cpu(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _add(result: Result, failure: dict[str, Any]) -> None:
    known = result.failures.setdefault(f"{failure['kind']}: {failure['place']}", failure | {"times": 0})
    known["times"] += failure["times"]


def _alone() -> dict[str, str]:
    """One thread, and libFuzzer's own runtime quiet."""
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def page(results: Sequence[Result]) -> Iterator[str]:
    """The result as Markdown."""
    by_kind = {kind: sum(one.tried for one in results if one.kind == kind) for kind in INPUTS}
    yield f"# Inputs by chance, {time.strftime('%Y-%m-%d')}"
    yield ""
    yield (
        f"`python benchmarks/fuzz/run.py`, {_guide()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"low priority. A failure is anything but a `LpdsegError`: another error, a hang of {HUNG:g} s, more than "
        f"{MOST_BYTES >> 20} MiB above the start, a file left half-written, a process that dies."
    )
    yield ""
    yield "| target | kind | inputs | taken | refused | failures | seconds |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for one in results:
        yield (
            f"| {one.name} | {one.kind} | {one.tried:,} | {one.taken:,} | {one.refused:,} | {len(one.failures)} | "
            f"{one.seconds:,.0f} |"
        )
    yield ""
    pictures = by_kind["image"] + by_kind["slide"]
    yield f"In all {by_kind['text']:,} inputs to parsers of text, {pictures:,} to those of images and slides."
    if any(one.failures for one in results):
        yield "\n| target | failure | times |\n|---|---|---:|"
        for one in results:
            for key, failure in one.failures.items():
                yield f"| {one.name} | {key} | {failure['times']:,} |"


def _guide() -> str:
    try:
        return f"guided by coverage of the package's lines (atheris {version('atheris')})"
    except PackageNotFoundError:
        return "not guided by coverage (atheris is not installed)"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--inputs", type=int, help=f"of each target; by default {INPUTS} by kind")
    parser.add_argument("--seconds", type=float, default=3600.0, help="at most, for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(words)
    results = []
    for name in args.target:
        kind, share = kind_of(name)
        inputs = args.inputs or int(INPUTS[kind] * share)
        results.append(run_target(name, inputs, args.seconds, args.seed, args.keep))
        one = results[-1]
        told = ", ".join(one.failures) or "well"
        print(f"{name}: {one.tried:,} inputs, {one.taken:,} taken, {one.seconds:.0f} s; {told}")
        sys.stdout.flush()
    text = "\n".join(page(results)) + "\n"
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
    return int(any(one.failures for one in results))


if __name__ == "__main__":
    sys.exit(main())

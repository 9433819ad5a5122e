"""Disturbs commands and lets them go on: `nice python benchmarks/faults/run.py --out RESULT.md`.

A killed command (kill -9 of all its processes, at a random share of the processor time that it takes) is run
again and must give what an undisturbed one gives, bit by bit, with nothing left over; what it had written before is
whole, and says that it is finished only where it is.

The same after a disk that was full, a file that ended while it was read, and a worker that was killed; there the
command itself must end with a sentence and no traceback.
"""

import argparse
import importlib
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cases import CASES, Case, draw_room, fresh
from comparing import Held, differences, held, steady
from endings import Ended, last_line, sentence

KILLS = {
    "train": 15, "train with a loader": 5, "segment patches": 20, "segment patches with prototypes": 10,
    "segment slides": 20, "tile": 20, "evaluate": 20, "benchmark": 15, "bundle": 20,
    "synth": 10, "export": 10, "report": 10, "figure curves": 5, "figure grid": 5, "figure prototypes": 5,
    "prototypes": 5,
}  # fmt: skip
OTHERS = 5
"""Times for each other fault and command."""

LOADED = (
    "lpdseg.api", "lpdseg.training.loop", "lpdseg.training.metrics", "lpdseg.workflows.slides.many",
    "lpdseg.benchmark.runner",
    "lpdseg.workflows.tile_slides",
    "lpdseg.workflows.bundles.making", "lpdseg.export.geojson", "lpdseg.export.ome_tiff", "lpdseg.export.ome_zarr",
    "torch.utils.tensorboard", "transformers.models.resnet.modeling_resnet", "sklearn.metrics", "scipy.ndimage",
)  # fmt: skip
"""Once, for all copies of this process."""

_PAGE = 4096
"""Bytes by which a disk in memory grows."""

_TICK = 0.002
_LONGEST = 600.0
"""Seconds by the clock after which a command hangs."""

_TOLD_AGAIN = frozenset({"/0/resumed", "/0/command", "/0/waited"})


@dataclass
class Outcome:
    """Of one fault and command."""

    fault: str
    case: str
    tried: int = 0
    missed: int = 0
    bad: Counter[str] = field(default_factory=Counter)


Disturb = Callable[[int, float], bool]
"""Is asked all the while, with the process and the processor seconds that it has taken; True once it has acted."""


def run_command(words: list[str], disturb: Disturb | None = None) -> tuple[Ended, bool]:
    """One command in a copy of this process, which has all libraries loaded; and whether it was disturbed."""
    with tempfile.TemporaryFile() as said:
        process = os.fork()
        if process == 0:
            _become(words, said.fileno())
        acted, began = False, time.monotonic()
        while True:
            done, status, usage = os.wait4(process, os.WNOHANG)
            if done:
                break
            if disturb is not None and not acted:
                acted = disturb(process, _cpu(process))
            if time.monotonic() - began > _LONGEST:
                os.killpg(process, signal.SIGKILL)
            time.sleep(_TICK)
        _end_group(process)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    return Ended(os.waitstatus_to_exitcode(status), text, usage.ru_utime + usage.ru_stime), acted


def _become(words: list[str], said: int) -> None:
    """The rest of a child's life."""
    code = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(said, stream)
        sys.stdout, sys.stderr = (open(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))  # noqa: SIM115
        sys.argv = ["lpdseg", *words]
        from lpdseg.cli.main import main

        code = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_group(process: int) -> None:
    """What a command has started ends with it."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _cpu(process: int) -> float:
    """Seconds of a command, with its workers, also those that have ended."""
    return (_ticks(process, 4) + sum(_ticks(one, 2) for one in _children(process))) / os.sysconf("SC_CLK_TCK")


def _ticks(process: int, kinds: int) -> int:
    """Of user and system, and as third and fourth kind those of children that were waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11 : 11 + kinds]))
    except (OSError, ValueError):
        return 0


def _children(process: int) -> list[int]:
    """Whichever of its threads began them."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        return [int(one) for thread in threads for one in (thread / "children").read_text().split()]
    except OSError:
        return []


def workers(process: int) -> list[int]:
    """Children that run by now; what Python begins to tidy up after them is none, also while it has no name yet."""
    return [one for one in _children(process) if b"spawn_main" in _line(one)]


def _line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


class Room:
    """Inputs, and the folder that commands write, the same for all trials, since records tell paths."""

    def __init__(self, place: Path) -> None:
        self.place, self.out = place / "room", place / "disk" / "out"
        self.out.parent.mkdir(parents=True)

    def command(self, case: Case) -> list[str]:
        self.out.parent.mkdir(exist_ok=True)
        if case.name == "evaluate":
            self.out.mkdir(exist_ok=True)
        return case.words(self.place, self.out)

    def undisturbed(self, case: Case) -> tuple[Held, float]:
        """What a command gives both of two times, and its processor seconds."""
        results, seconds = [], []
        for _ in range(2):
            fresh(self.out)
            ended, _ = run_command(self.command(case))
            if ended.code != 0:
                raise SystemExit(f"{case.name} fails undisturbed:\n{ended.said[-3000:]}")
            results.append(held(self.out))
            seconds.append(ended.cpu)
        return steady(*results), sum(seconds) / 2

    def goes_on(self, case: Case, wanted: Held) -> Iterator[str]:
        """What is wrong once the command was run again."""
        words = self.command(case)
        begun = not case.again or any((self.out / "checkpoints").glob("*.json"))
        ended, _ = run_command([*words, *(case.again if begun else ())])
        if ended.code != 0:
            yield f"going on ended with {ended.code}: {last_line(ended.said)}"
            return
        yield from differences(wanted, held(self.out), _TOLD_AGAIN)


def trained(words: list[str]) -> None:
    """Runs the command whose result others are given."""
    ended, _ = run_command(words)
    if ended.code != 0:
        raise SystemExit(f"the run that commands are given could not be trained:\n{ended.said[-3000:]}")


def half_done(room: Room, wanted: Held) -> Iterator[str]:
    """What a disturbed command has written is whole, and nothing that is not finished says so."""
    if not room.out.exists():
        return
    for name, content in held(room.out).items():
        hidden = any(part.startswith(".") for part in Path(name).parts)
        expected = wanted.get(name)
        if (
            hidden
            or expected is None
            or Path(name).name in ("metrics.jsonl", "metrics.csv", "summary.csv", "manifest.csv", "slides.json")
        ):
            continue  # of tables that grow, a shorter one is whole
        tables = ("table.md", "table.html", "table.csv", "results.json")
        growing = "/checkpoints/" in f"/{name}" or name.endswith(tables)
        if isinstance(expected, dict):
            if isinstance(content, dict) and content.get("/0/status") != expected.get("/0/status"):
                continue
            if not isinstance(content, dict):
                yield f"{name} is half-written"
            elif "/0/status" in content and differences({name: expected}, {name: content}, _TOLD_AGAIN):
                yield f"{name} says that it is finished and is not"
        elif content != expected and not growing:
            yield f"{name} is half-written"


Trial = tuple[bool, list[str]]
"""Whether a fault came in time to disturb a command, and what was wrong afterwards."""


def kills(room: Room, case: Case, chance: random.Random) -> Iterator[Trial]:
    """Kill -9 at random."""
    wanted, seconds = room.undisturbed(case)
    while True:
        fresh(room.out)
        after = chance.random() * seconds

        def kill(process: int, cpu: float, after: float = after) -> bool:
            if cpu < after or os.getpgid(process) != process:
                return False
            os.killpg(process, signal.SIGKILL)
            return True

        ended, _ = run_command(room.command(case), kill)
        in_time = ended.code == -signal.SIGKILL
        yield in_time, [*half_done(room, wanted), *room.goes_on(case, wanted)] if in_time else []


def full_disk(room: Room, case: Case, chance: random.Random) -> Iterator[Trial]:
    """A small disk in memory that is full after a random share of what the command writes, and then is not."""
    wanted, _ = room.undisturbed(case)
    size, disk = sum(path.stat().st_blocks * 512 for path in room.out.rglob("*") if path.is_file()), room.out.parent
    while True:
        fresh(room.out)
        space = max(int(chance.random() * size) // _PAGE, 1) * _PAGE
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={space}", "tmpfs", disk], check=True)
        try:
            ended, _ = run_command(room.command(case))
            bad = list(sentence(ended))
            subprocess.run(["mount", "-o", "remount,size=2g", disk], check=True)
            bad += [*half_done(room, wanted), *room.goes_on(case, wanted)]
        finally:
            subprocess.run(["umount", disk], check=True)
        yield ended.code != 0, bad


def cut_files(room: Room, case: Case, chance: random.Random) -> Iterator[Trial]:
    """A file that is cut to half of its bytes while the command runs, and restored before it goes on."""
    wanted, seconds = room.undisturbed(case)
    while True:
        fresh(room.out)
        path = chance.choice(sorted(room.place.glob(case.inputs)))
        content, stamp, after = path.read_bytes(), path.stat(), chance.random() * seconds * 0.7

        def cut(
            process: int, cpu: float, path: Path = path, half: int = len(content) // 2, at: float = after
        ) -> bool:
            if cpu < at:
                return False
            os.truncate(path, half)
            return True

        ended, acted = run_command(room.command(case), cut)
        path.write_bytes(content)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        yield acted and ended.code != 0, [*sentence(ended), *_in_the_end(room, case, ended, wanted)]


def lost_workers(room: Room, case: Case, chance: random.Random) -> Iterator[Trial]:
    """A process that the command has started is killed."""
    wanted, seconds = room.undisturbed(case)
    while True:
        fresh(room.out)
        after = chance.random() * seconds * 0.7

        def kill(process: int, cpu: float, after: float = after) -> bool:
            found = workers(process) if cpu >= after else []
            if not found:
                return False
            os.kill(chance.choice(found), signal.SIGKILL)
            return True

        ended, acted = run_command(room.command(case), kill)
        yield acted, [*sentence(ended), *_in_the_end(room, case, ended, wanted)]


def _in_the_end(room: Room, case: Case, ended: Ended, wanted: Held) -> Iterator[str]:
    """What is wrong with the result of a command that did not notice the fault, or else of the one that went on."""
    if ended.code == 0:
        yield from differences(wanted, held(room.out), _TOLD_AGAIN)
    else:
        yield from half_done(room, wanted)
        yield from room.goes_on(case, wanted)


FAULTS = {"kill -9": kills, "full disk": full_disk, "file cut short": cut_files, "lost worker": lost_workers}


def possible(fault: str, case: Case) -> bool:
    """Whether a command has what the fault disturbs."""
    return {"lost worker": case.workers, "file cut short": bool(case.inputs)}.get(fault, True)


def page(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The result as Markdown."""
    killed = [one for one in outcomes if one.fault == "kill -9"]
    yield f"# Faults, {time.strftime('%Y-%m-%d')}\n"
    yield (
        f"`python benchmarks/faults/run.py`, Python {platform.python_version()}, {os.cpu_count()} cores, low "
        "priority. Each trial disturbs a command, looks at what it has written, lets it go on, compares every "
        "file with an undisturbed run's: bytes, and of JSON records the values that two undisturbed runs share. A "
        "fault that came too late to disturb anything is no trial.\n"
    )
    yield "| fault | command | trials | too late | wrong afterwards | what |"
    yield "|---|---|---:|---:|---:|---|"
    for one in outcomes:
        told = "; ".join(f"{what} ({count})" for what, count in one.bad.most_common(6)) or "-"
        yield f"| {one.fault} | {one.case} | {one.tried} | {one.missed} | {sum(one.bad.values())} | {told} |"
    yield f"\nKilled {sum(one.tried for one in killed)} times in all."


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [case.name for case in CASES]
    parser.add_argument("--case", nargs="+", choices=names, default=names)
    parser.add_argument("--fault", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--times", type=int, help=f"of each; by default {KILLS} kills and {OTHERS} of each other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(words)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for name in LOADED:
        importlib.import_module(name)
    outcomes = []
    place = Path(tempfile.mkdtemp(prefix="lpdseg-faults-"))
    os.environ["LPDSEG_CACHE"] = str(place / "cache")
    try:
        room = Room(place)
        room.place.mkdir()
        draw_room(room.place, trained)
        for fault in args.fault:
            for case in CASES:
                if case.name not in args.case or not possible(fault, case):
                    continue
                times = args.times or (KILLS.get(case.name, OTHERS) if fault == "kill -9" else OTHERS)
                one = Outcome(fault, case.name)
                outcomes.append(one)
                for in_time, bad in FAULTS[fault](room, case, random.Random(f"{args.seed}{fault}{case.name}")):
                    one.tried, one.missed = one.tried + in_time, one.missed + (not in_time)
                    one.bad.update(bad)
                    if args.out is not None:
                        args.out.parent.mkdir(parents=True, exist_ok=True)
                        args.out.write_text("\n".join(page(outcomes)) + "\n", encoding="utf-8")
                    if one.tried >= times or one.missed >= times:
                        break
                told = "; ".join(f"{what} ({count})" for what, count in one.bad.items()) or "well"
                print(f"{fault}, {case.name}: {one.tried} trials, {one.missed} too late; {told}", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return int(any(one.bad for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())

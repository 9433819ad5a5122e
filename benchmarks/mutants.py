"""Do the tests notice faults? Puts small ones into the mathematics, one at a time, and runs the tests that matter.

    python benchmarks/mutants.py --count 300 --aim 92 --aim-calibration 90

Prints which faults survived and the share that was noticed in each room (see `mutants.yaml`); the exit code is 1
below an aim. Works on copies of the tree. Each fault is tried in a fork of one process that has imported what the
tests need, so it costs about as long as the tests themselves. Needs a system that forks.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mutating import Mutant, choice_groups, mutants

ROOT = Path(__file__).parents[1]
PACKAGE = Path("src") / "lpdseg"


@dataclass(frozen=True)
class Source:
    """One file, below the package, with its room and its tests, quick ones first."""

    path: Path
    room: str
    tests: tuple[Path, ...]


@dataclass(frozen=True)
class Trial:
    """A fault that is to be tried, or was."""

    source: Source
    mutant: Mutant
    outcome: str = ""

    @property
    def place(self) -> str:
        return f"{self.source.path}:{self.mutant.line}"


def read_sources(root: Path, config: dict) -> list[Source]:
    """The files of all rooms, each with the tests of its name and those that the configuration adds."""
    found = []
    for room, patterns in config["rooms"].items():
        for path in sorted({path for pattern in patterns for path in (root / PACKAGE).glob(pattern)}):
            relative = path.relative_to(root / PACKAGE)
            if path.name == "__init__.py":
                continue
            own = sorted((root / "tests" / relative.parent).glob(f"test_{path.stem}*.py"))
            more = [root / "tests" / name for name in config["also"].get(str(relative), ())]
            last = [root / "tests" / name for name in config["last"] if room in config["last_for"]]
            tests = dict.fromkeys(test.relative_to(root) for test in [*own, *more, *last])
            found.append(Source(relative, room, tuple(tests)))
    return found


def choose(sources: Sequence[Source], root: Path, count: int, seed: int) -> list[Trial]:
    """`count` faults or all there are, spread over the files by how many each offers."""
    groups = choice_groups(path.read_text(encoding="utf-8") for path in sorted((root / PACKAGE).rglob("*.py")))
    offered = {source: mutants((root / PACKAGE / source.path).read_text("utf-8"), groups) for source in sources}
    total = sum(map(len, offered.values()))
    chosen = []
    for source, found in offered.items():
        number = min(len(found), max(3, -(-count * len(found) // total)))
        picked = random.Random(f"{seed} {source.path}").sample(found, number)
        chosen += [Trial(source, mutant) for mutant in sorted(picked, key=lambda one: one.start)]
    return chosen


def is_same(trial: Trial, root: Path, known: Sequence[dict]) -> bool:
    """Whether a fault is listed as one that changes nothing."""
    lines = (root / PACKAGE / trial.source.path).read_text("utf-8").splitlines()
    line = lines[trial.mutant.line - 1].strip()
    return any(
        one["file"] == str(trial.source.path) and one["line"] == line and trial.mutant.what in one["faults"]
        for one in known
    )


class Tree:
    """A copy of sources and tests, in which one fault is tried at a time."""

    def __init__(self, folder: Path, original: Path) -> None:
        self.folder = folder
        shutil.copytree(original / "src", folder / "src")
        shutil.copytree(original / "tests", folder / "tests")
        shutil.copy2(original / "pyproject.toml", folder)
        self.pid, self.until, self.trial = 0, 0.0, Trial(Source(Path(), "", ()), Mutant(0, 0, 0, "", ""))

    def begin(self, trial: Trial, limit: float) -> None:
        """Puts the fault in and starts the tests in a fork."""
        path = self.folder / PACKAGE / trial.source.path
        self.trial, self.held, self.until = trial, path.read_bytes(), time.monotonic() + limit
        path.write_bytes(trial.mutant.apply(self.held))
        os.utime(path, (0, time.time_ns() % 10**8))  # another time: no compiled file of before fits
        self.pid = fork_tests(self.folder, trial.source.tests)

    def ended(self) -> Trial | None:
        """The trial with its outcome once the tests have ended or taken too long."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        late = pid == 0 and time.monotonic() > self.until
        if pid == 0 and not late:
            return None
        with_children(self.pid)
        if late:
            os.waitpid(self.pid, 0)
        (self.folder / PACKAGE / self.trial.source.path).write_bytes(self.held)
        code = os.waitstatus_to_exitcode(status)
        outcome = "too long" if late else "survived" if code == 0 else "noticed"
        return Trial(self.trial.source, self.trial.mutant, outcome)


def with_children(pid: int) -> None:
    """Ends a fork and whatever it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def fork_tests(folder: Path, tests: Sequence[Path], listed: Path | None = None) -> int:
    """Runs tests of a tree in a fork, up to the first that fails; `listed` is told what they imported."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        with (folder / "output.txt").open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.path.insert(0, str(folder / "src"))
        os.environ["PYTHONPATH"] = str(folder / "src")
        sys.dont_write_bytecode = listed is None
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=quick"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that are imported already
        options += [f"--basetemp={folder / 'temporary'}"]
        # Most faults need the first file alone.
        for some in [tests] if listed is not None else [[one] for one in tests]:
            code = int(pytest.main([*options, *map(str, some)]))
            if code:
                break
        if listed is not None:
            outside = [name for name, module in sys.modules.items() if is_library(module)]
            listed.write_text("\n".join(outside))
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(code)


def is_library(module: object) -> bool:
    return any(part in str(getattr(module, "__file__", None)) for part in ("site-packages", "lib/python"))


def warm_up(tree: Tree, sources: Sequence[Source]) -> float:
    """Seconds of all tests without a fault, after which this process has imported what they did.

    **Raises:** `SystemExit` where they fail.
    """
    began, listed = time.monotonic(), tree.folder / "modules.txt"
    tests = sorted({test for source in sources for test in source.tests})
    _, status = os.waitpid(fork_tests(tree.folder, tests, listed), 0)
    if status != 0:
        raise SystemExit(f"the tests fail without a fault:\n{(tree.folder / 'output.txt').read_text()[-3000:]}")
    for name in listed.read_text().splitlines():
        try:
            __import__(name)
        except Exception:  # some parts of libraries can be imported by their owners alone
            continue
    return time.monotonic() - began


def run(trials: Sequence[Trial], trees: Sequence[Tree], limit: float) -> list[Trial]:
    """Tries all faults, one per tree at a time."""
    waiting, done, busy = list(reversed(trials)), [], []
    idle = list(trees)
    while waiting or busy:
        while waiting and idle:
            idle[-1].begin(waiting.pop(), limit)
            busy.append(idle.pop())
        for tree in list(busy):
            if (found := tree.ended()) is not None:
                busy.remove(tree)
                idle.append(tree)
                done.append(found)
                if found.outcome != "noticed":
                    print(f"{found.outcome}: {found.place}: {found.mutant.what}", flush=True)
                elif len(done) % 25 == 0:
                    print(f"{len(done)} of {len(trials)}", flush=True)
        time.sleep(0.02)
    return sorted(done, key=lambda one: (one.source.room, str(one.source.path), one.mutant.start))


def table(done: Sequence[Trial], same: Sequence[Trial]) -> str:
    """Faults, those noticed and the rate by room, in Markdown, and a list of those that survived."""
    lines = ["| room | faults | noticed | rate |", "|---|---|---|---|"]
    total, noticed = Counter[str](), Counter[str]()
    for trial in done:
        for room in (trial.source.room, "all"):
            total[room] += 1
            noticed[room] += trial.outcome != "survived"
    for room in sorted(total, key=lambda name: (name == "all", name)):
        lines.append(f"| {room} | {total[room]} | {noticed[room]} | {100 * noticed[room] / total[room]:.1f} % |")
    lines += ["", f"Left out as faults that change nothing: {len(same)}.", "", "Survived:", ""]
    lines += [f"- `{one.place}`: `{one.mutant.what}`" for one in done if one.outcome == "survived"]
    return "\n".join(lines)


def rate(done: Sequence[Trial]) -> float:
    """Per cent noticed; 100 of none."""
    return 100 * sum(one.outcome != "survived" for one in done) / len(done) if done else 100.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="faults; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[""], help="rooms, or parts of paths")
    parser.add_argument("--aim", type=float, default=0.0, help="per cent of all that must be noticed")
    parser.add_argument("--aim-calibration", type=float, default=0.0, help="the same of calibration")
    arguments = parser.parse_args()
    config = yaml.safe_load((Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8"))
    wanted = arguments.only
    sources = [
        one for one in read_sources(ROOT, config) if any(part in f"{one.room} {one.path}" for part in wanted)
    ]
    trials = choose(sources, ROOT, arguments.count or 10**6, arguments.seed)
    same = [trial for trial in trials if is_same(trial, ROOT, config["same"])]
    trials = [trial for trial in trials if trial not in same]
    prepare_libraries()
    with tempfile.TemporaryDirectory() as folder:
        first = Tree(Path(folder) / "0", ROOT)
        seconds = warm_up(first, sources)
        print(f"{len(trials)} faults in {len(sources)} files; all tests without one: {seconds:.0f} s", flush=True)
        trees = [first, *(Tree(Path(folder) / str(number), first.folder) for number in range(1, arguments.jobs))]
        done = run(trials, trees, limit=60 + 4 * seconds)
    print(table(done, same))
    calibration = [one for one in done if one.source.room == "calibration"]
    return int(rate(done) < arguments.aim or rate(calibration) < arguments.aim_calibration)


def prepare_libraries() -> None:
    """One thread, for forks of a process with more may hang; examples as always, but not made smaller."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import hypothesis
    import torch

    torch.set_num_threads(1)
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "quick", deadline=None, max_examples=30, phases=phases, derandomize=True, database=None
    )


if __name__ == "__main__":
    sys.exit(main())

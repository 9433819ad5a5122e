"""What a parser may do with any input: take it, or refuse it with a sentence. Everything else is a failure.

A target is a file in `targets`, with

- `KIND`: `text`, `image` or `slide`;
- `seeds(folder)`: inputs that are taken, made by code, at least one;
- `mutate`: one of `mutations`;
- `LONGEST`: bytes of an input, where it is not that of this module;
- `parse(data, folder)`: gives `data` to the parser, by a file in `folder` where it reads one. Of what was taken it
  may check more, such as that it is the same once it was written and read again.
"""

import importlib.util
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import ModuleType

from mutations import bytes_changed

HERE = Path(__file__).resolve().parent
TARGETS = tuple(sorted(path.stem for path in (HERE / "targets").glob("*.py")))

MOST_BYTES = 1 << 30
"""Above what the process had at its largest when it began."""

LONGEST = 1 << 16
"""Bytes of an input; a target may have its own `LONGEST`."""

HUNG = 10.0
"""Seconds of processor time for one input."""

_ROOM = 3 << 30
"""Of address space above that of the start: what asks for more fails in the process, and the machine goes on."""


@dataclass(frozen=True)
class Failure:
    """What a parser must not do.

    - `kind`: `traceback`, `memory`, `leftover`, `hang`, or from outside `crash`.
    - `place`: what went wrong and where in the package: failures that share it are one.
    """

    kind: str
    place: str
    told: str


@dataclass
class Count:
    """Of the inputs of one target: `taken` and `refused` ones, and how many had each failure, with the first."""

    tried: int = 0
    taken: int = 0
    refused: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    firsts: dict[str, tuple[Failure, bytes]] = field(default_factory=dict)


def load_target(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_target_{name}", HERE / "targets" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def own_folder() -> Iterator[Path]:
    """In memory where there is such a place."""
    shared = Path("/dev/shm")
    place = tempfile.mkdtemp(prefix="lpdseg-fuzz-", dir=shared if os.access(shared, os.W_OK) else None)
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Hung(BaseException):
    """An input has taken too long; no parser catches this."""


@contextmanager
def _bounded_time() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _Hung

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, HUNG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Trial:
    """Gives inputs to one target and counts what comes of them."""

    def __init__(self, target: ModuleType, folder: Path, bounded: bool = True) -> None:
        self.target, self.folder, self.count = target, folder, Count()
        self.seeds: Sequence[bytes] = target.seeds(folder)
        for seed in self.seeds:
            with suppress(Exception):
                target.parse(
                    seed, folder
                )  # what a parser imports, and the buffers of libraries, belong to the start
        self.start = _largest()
        if bounded:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _ROOM, resource.RLIM_INFINITY))

    def give(self, data: bytes) -> Failure | None:
        failure = self._outcome(data)
        self.count.tried += 1
        if failure is not None:
            key = f"{failure.kind}: {failure.place}"
            self.count.failures[key] = self.count.failures.get(key, 0) + 1
            self.count.firsts.setdefault(key, (failure, data))
        return failure

    def _outcome(self, data: bytes) -> Failure | None:
        from lpdseg.errors import LpdsegError

        failure = None
        try:
            with _bounded_time():
                self.target.parse(data, self.folder)
            self.count.taken += 1
        except _Hung as error:
            failure = Failure("hang", _place(error), traceback.format_exc(limit=-8))
        except LpdsegError as error:
            self.count.refused += 1
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, MemoryError):
                    failure = Failure("memory", _place(cause), f"asked for more than there is; then {error}")
                cause = cause.__cause__
        except Exception as error:
            failure = Failure("traceback", _place(error), traceback.format_exc(limit=-8))
        if _largest() > self.start + MOST_BYTES:
            failure = Failure(
                "memory", self.target.__name__, f"{(_largest() - self.start) >> 20} MiB above the start"
            )
            _forget_largest()
        left = [entry.name for entry in os.scandir(self.folder) if entry.name.startswith(".")]
        if left:
            failure = Failure("leftover", self.target.__name__, f"left {', '.join(left)}")
        return failure


def changed(inputs: Sequence[bytes], target: ModuleType, random: Random) -> bytes:
    """One of the inputs after a few changes, not too long."""
    data = random.choice(inputs)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        mutate = target.mutate if random.random() < 0.8 else bytes_changed
        data = mutate(data, random)
    return data[: longest(target)]


def longest(target: ModuleType) -> int:
    """Bytes of an input of a target."""
    return min(int(getattr(target, "LONGEST", LONGEST)), LONGEST)


def _place(error: BaseException) -> str:
    """The kind of an error, and the last line of the package or of a target that it went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    where = f"{Path(frames[-1].filename).name}, {frames[-1].name}" if frames else "nowhere"
    return f"{type(error).__name__} in {where}"


def _is_ours(name: str) -> bool:
    return f"{os.sep}lpdseg{os.sep}" in name or f"{os.sep}targets{os.sep}" in name


def _largest() -> int:
    """Bytes that this process had at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def _forget_largest() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

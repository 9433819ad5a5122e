"""The engine of many machines: Ray actors, each with a model of its own, and a driver that keeps them in work.

A worker or a node that is lost costs its segments' time and nothing else: they are given to others, and another
worker is started as soon as the cluster has room for one. Segments come back in order and are computed in the same
batches as on one machine.
"""

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from lpdseg.errors import LpdsegError, SettingsError
from lpdseg.extras import needed
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Job, Strip
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides.cluster_worker import ClusterWorker

_PER_WORKER = 2
"""Segments that a worker holds: it reads one while it computes the other."""

_AHEAD = 4
"""Strips per worker that may wait for an earlier one, which bounds the driver's memory."""

_TRIES = 4
"""Workers that a segment, or a start, may cost before it is taken for the cause."""

_ROOM_SECONDS = 300.0
"""How long a cluster may have no room for any worker."""

_ANSWER_SECONDS = 10.0

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing about anybody's slides leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@dataclass(eq=False)
class _Slot:
    """A worker; `starting` until it has its model."""

    actor: Any
    starting: Any
    held: int = 0


@dataclass
class _Progress:
    """Where a slide stands: what is not given out, what is with whom, what has come back too early."""

    waiting: deque[Segment]
    running: dict[Any, tuple[_Slot, Segment]] = field(default_factory=dict)
    early: dict[int, Strip | LpdsegError] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)
    following: int = 0


class RayEngine:
    """Computes segments with Ray: see `Engine`.

    **Arguments:**

    - `build`: makes a segmenter on whatever machine it is called; is sent there.
    - `address`: of a cluster; `auto` finds one; None starts one on this machine. A connection that this process
      already has is used as it is.
    - `workers`: how many; None: as many as the cluster has GPUs or, without any, processors.
    - `gpu`: whether each worker takes a GPU; None: where the cluster has any.
    - `threads`: of each worker on its processor.

    **Raises:** `SettingsError` where Ray is not installed, no cluster answers, or it has no room for a worker.
    """

    def __init__(
        self,
        build: Callable[[], Segmenter],
        *,
        address: str | None = None,
        workers: int | None = None,
        gpu: bool | None = None,
        threads: int = 1,
    ) -> None:
        needed("cluster", "ray")
        self._build, self._threads = build, threads
        self._address, self._workers, self._gpu = address, workers, gpu
        self._slots: list[_Slot] = []
        self._failed_starts = 0
        self._ours = False
        self._ray: Any = None

    def __enter__(self) -> "RayEngine":
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        import ray

        self._ray = ray
        if not ray.is_initialized():
            self._connect()
            self._ours = True
        try:
            self._slots = [self._start() for _ in range(self._room())]
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def strips(self, job: Job) -> Generator[Strip, None, None]:
        """See `Engine`."""
        state = _Progress(deque(job.segments))
        weights = self._ray.put(job.weights)
        try:
            while state.following < len(job.segments):
                self._give_out(state, job, weights)
                self._take_back(state, job)
                while state.following in state.early:
                    given = state.early.pop(state.following)
                    if isinstance(given, LpdsegError):
                        raise given  # in its turn, so that of several faults one machine's is told
                    yield given
                    state.following += 1
        finally:
            for ref, (slot, _) in state.running.items():
                slot.held -= 1
                self._ray.cancel(ref)

    def _connect(self) -> None:
        _check_answers(self._address)
        options = {"include_dashboard": False} if self._address is None else {}
        try:
            self._ray.init(
                address=self._address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = " ".join(str(error).split())
            raise SettingsError(f"no Ray cluster answers at {self._address or 'this machine'}: {told}") from error

    def _room(self) -> int:
        """How many workers to start; settles whether they take GPUs."""
        has = self._ray.cluster_resources()
        gpus, processors = int(has.get("GPU", 0)), int(has.get("CPU", 0))
        if self._gpu and not gpus:
            raise SettingsError("the Ray cluster has no GPU; use --device cpu, or add nodes that have one")
        self._gpu = gpus > 0 if self._gpu is None else self._gpu
        return self._workers or max(1, gpus if self._gpu else processors // self._threads)

    def _leave(self) -> None:
        for slot in self._slots:
            self._ray.kill(slot.actor)
        self._slots = []
        if self._ours:
            self._ray.shutdown()
            self._ours = False

    def _start(self) -> _Slot:
        actor = self._ray.remote(ClusterWorker).options(
            num_cpus=self._threads, num_gpus=1 if self._gpu else 0, max_concurrency=_PER_WORKER
        )
        handle = actor.remote(self._build, self._threads)
        return _Slot(handle, handle.start.remote())

    def _give_out(self, state: _Progress, job: Job, weights: Any) -> None:
        most = _AHEAD * len(self._slots)
        while state.waiting and state.waiting[0].number - state.following < most:
            free = [slot for slot in self._slots if slot.starting is None and slot.held < _PER_WORKER]
            if not free:
                return
            slot = min(free, key=lambda slot: slot.held)
            segment = state.waiting.popleft()
            slot.held += 1
            asked = job.prototypes, job.unrefined
            ref = slot.actor.strip.remote(job.source, segment, job.window, weights, *asked)
            state.running[ref] = (slot, segment)

    def _take_back(self, state: _Progress, job: Job) -> None:
        """Waits until a worker has started, or a strip is there, or a worker is lost."""
        starting = {slot.starting: slot for slot in self._slots if slot.starting is not None}
        ready, _ = self._ray.wait(
            [*state.running, *starting], num_returns=1, timeout=None if state.running else _ROOM_SECONDS
        )
        if not ready:
            raise SettingsError(
                f"the Ray cluster has had no room for a worker for {_ROOM_SECONDS:.0f} s (each needs "
                f"{self._threads} CPU{' and a GPU' if self._gpu else ''}); free some, or add nodes"
            )
        for ref in ready:
            if ref in starting:
                self._started(starting[ref])
            else:
                self._returned(state, job, ref)

    def _started(self, slot: _Slot) -> None:
        try:
            fault = self._ray.get(slot.starting)
        except self._ray.exceptions.RayActorError as error:
            self._failed_starts += 1
            if self._failed_starts >= _TRIES:
                raise SettingsError(
                    f"{_TRIES} workers in a row ended while they started: {str(error).splitlines()[0]}"
                ) from error
            self._replace(slot)
            return
        if fault is not None:
            raise SettingsError(
                f"a worker of the Ray cluster cannot load the model: {fault} (the run and the slides must lie "
                "where every node can read them)"
            )
        self._failed_starts = 0
        slot.starting = None

    def _returned(self, state: _Progress, job: Job, ref: Any) -> None:
        slot, segment = state.running.pop(ref)
        slot.held -= 1
        try:
            given = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise  # a fault of the program, which keeps its traceback
        except self._ray.exceptions.RayError as error:
            state.lost[segment.number] += 1
            if state.lost[segment.number] == _TRIES:
                raise SlideError(
                    f"{job.source.path}: {_TRIES} workers in a row ended at the window at x {segment.lefts[0]}, "
                    f"y {segment.y}, perhaps for lack of memory; use a smaller --batch"
                ) from error
            state.waiting.appendleft(segment)  # the oldest: others wait for it
            if slot in self._slots and isinstance(error, self._ray.exceptions.RayActorError):
                self._replace(slot)
            return
        state.early[segment.number] = given

    def _replace(self, slot: _Slot) -> None:
        """A worker that is lost; the new one waits for room without holding up the others."""
        self._slots[self._slots.index(slot)] = self._start()


def _check_answers(address: str | None) -> None:
    """Fails within seconds where nothing listens at HOST:PORT: Ray would try for minutes.

    **Raises:** `SettingsError`.
    """
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if not (colon and port.isdigit()):
        return  # a name that Ray looks up itself, such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`, or check it"
        ) from error

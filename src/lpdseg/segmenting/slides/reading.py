"""Reading the windows of segments, in this process or in others that open the slide themselves.

Reader processes import this module, so it does without PyTorch. Windows have w x w pixels, a segment's pixels are P
across.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

import numpy as np
from jaxtyping import UInt8

from lpdseg.guard import MAIN_GUARD
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.view import Source, View
from lpdseg.slides.slide import SlideError

_AHEAD = 2
"""Segments that are read, or being read, ahead of the model, for each reader process."""

_VIEWS = 2
"""Slides that are read at once: the one that is computed, and the next."""


class OpenView:
    """Keeps a view of each slide that is read: opening costs more than reading a window."""

    def __init__(self) -> None:
        self._views: dict[Source, tuple[View, ExitStack]] = {}

    def pixels(self, source: Source, segment: Segment, window: int) -> UInt8[np.ndarray, "w P 3"]:
        """RGB of a segment's windows, see `Segment.places`: those that touch or overlap are read as one strip.

        **Raises:** `SlideError` where the slide cannot be opened, or is damaged there.
        """
        view, read = self._of(source), []
        for run in segment.runs(window):
            first, last = segment.lefts[run.start], segment.lefts[run.stop - 1]
            read.append(view.read(first, segment.y, last + window - first, window))
        return read[0] if len(read) == 1 else np.concatenate(read, axis=1)

    def _of(self, source: Source) -> View:
        view, opened = self._views.pop(source, None) or (None, ExitStack())
        if view is None:
            while len(self._views) >= _VIEWS:
                self._views.pop(next(iter(self._views)))[1].close()
            view = opened.enter_context(source.open())
        self._views[source] = view, opened  # the last one, in order of use
        return view

    def close(self) -> None:
        """Closes the slides."""
        while self._views:
            self._views.popitem()[1][1].close()


class Reading(Iterator[np.ndarray]):
    """The pixels of segments, in order; made by `Readers.read`.

    Where a reader process ends, nobody knows which slide it was for. Each goes on with readers of its own then, so
    that the one that ends these as well is found, and no other fails with it.
    """

    def __init__(self, readers: "Readers", source: Source, segments: Sequence[Segment], window: int) -> None:
        self._readers, self._source, self._window = readers, source, window
        self._left, self._waiting = iter(segments), deque[_Asked]()
        self._alone = False
        self._go_on()

    def _go_on(self) -> None:
        """Asks for more, as much as may be in memory."""
        most = _AHEAD * max(1, self._readers.processes)
        self._waiting += [self._ask(segment) for segment in islice(self._left, most - len(self._waiting))]

    def _ask(self, segment: Segment) -> "_Asked":
        pool, read = self._readers.started()
        try:
            return _Asked(segment, pool, pool.submit(read, self._source, segment, self._window))
        except BrokenProcessPool as error:
            pixels = Future[np.ndarray]()
            pixels.set_exception(error)
            return _Asked(segment, pool, pixels)

    @property
    def ready(self) -> bool:
        """Whether nobody has to wait for the next."""
        return bool(self._waiting) and self._waiting[0].pixels.done()

    def __next__(self) -> UInt8[np.ndarray, "w P 3"]:
        if not self._waiting:
            raise StopIteration
        following = self._waiting.popleft()
        self._go_on()
        try:
            return following.pixels.result()
        except BrokenProcessPool as error:
            self._readers.forget(following.pool)
            if self._alone:
                raise SlideError(
                    f"a process that read {self._source.path} has ended: {MAIN_GUARD}; otherwise it was ended from "
                    "outside, perhaps for lack of memory: use fewer --workers, or a smaller --batch"
                ) from error
        self._readers, self._alone = Readers(self._readers.processes), True
        self._waiting = deque(self._ask(asked.segment) for asked in (following, *self._waiting))
        return next(self)

    def close(self) -> None:
        """Reads no more."""
        for asked in self._waiting:
            asked.pixels.cancel()
        if self._alone:
            self._readers.close()


@dataclass(frozen=True)
class _Asked:
    """A segment that a pool reads."""

    segment: Segment
    pool: Executor
    pixels: Future[np.ndarray]


class Readers:
    """Reads segments in order, and ahead of whoever takes them.

    **Arguments:**

    - `processes`: that read; with 0 a thread of this one does.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: Executor | None = None
        self._here, self._lock = OpenView(), threading.Lock()

    def read(self, source: Source, segments: Sequence[Segment], window: int) -> Reading:
        """Begins to read a slide. At most `2 * processes + 1` segments of it are in memory at once.

        **Raises:** on the way, `SlideError` where the slide cannot be read, or a reader process has ended.
        """
        return Reading(self, source, segments, window)

    def started(self) -> tuple[Executor, Callable[[Source, Segment, int], np.ndarray]]:
        """What reads, and how to ask it."""
        with self._lock:
            if self._pool is None and self.processes == 0:
                self._pool = ThreadPoolExecutor(1, "lpdseg-reader")
            elif self._pool is None:
                # Fresh processes: a copy of one that runs threads, as torch does, may hang.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.processes, mp_context=context, initializer=_begin)
            return self._pool, _read if self.processes else self._here.pixels

    def forget(self, pool: Executor) -> None:
        """The next slide gets new processes."""
        with self._lock:
            if self._pool is pool:
                self._pool = None

    def __enter__(self) -> "Readers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._here.close()


_mine = OpenView()
"""Of a reader process."""


def _read(source: Source, segment: Segment, window: int) -> np.ndarray:
    return _mine.pixels(source, segment, window)


def _begin() -> None:
    """Leaves signals to the process that started this one, and ends with it however it ends."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

"""Reading the windows of segments, in this process or in others that open the slide themselves.

Reader processes import this module, so it does without PyTorch. B windows, each w x w pixels.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
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


class OpenView:
    """Keeps the view of the source that was read last: opening costs more than reading a window."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._view: View | None = None
        self._open = ExitStack()

    def windows(self, source: Source, segment: Segment, window: int) -> UInt8[np.ndarray, "B w w 3"]:
        """RGB of a segment's windows. Those that touch or overlap are read as one strip, each pixel once.

        **Raises:** `SlideError` where the slide cannot be opened, or is damaged there.
        """
        view = self._of(source)
        windows = np.empty((len(segment.lefts), window, window, 3), np.uint8)
        for run in _touching(segment.lefts, window):
            first = segment.lefts[run.start]
            strip = view.read(first, segment.y, segment.lefts[run.stop - 1] + window - first, window)
            for number in range(run.start, run.stop):
                left = segment.lefts[number] - first
                windows[number] = strip[:, left : left + window]
        return windows

    def _of(self, source: Source) -> View:
        if self._view is None or self._source != source:
            self.close()
            self._view, self._source = self._open.enter_context(source.open()), source
        return self._view

    def close(self) -> None:
        """Closes the slide."""
        self._view = None
        self._open.close()


def _touching(lefts: Sequence[int], window: int) -> Iterator[slice]:
    """Runs of windows, by number, between which there is no gap; their left pixels are rising."""
    start = 0
    for number in range(1, len(lefts) + 1):
        if number == len(lefts) or lefts[number] > lefts[number - 1] + window:
            yield slice(start, number)
            start = number


class Readers:
    """Reads segments in order, and ahead of whoever takes them.

    **Arguments:**

    - `processes`: that read; 0 reads in this one, when asked.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._here = OpenView()

    def read(
        self, source: Source, segments: Sequence[Segment], window: int
    ) -> Generator[UInt8[np.ndarray, "B w w 3"], None, None]:
        """The windows of each segment, in order. At most `2 * processes + 1` segments are in memory at once.

        **Raises:** `SlideError` where the slide cannot be read, or a reader process has ended.
        """
        if self.processes == 0:
            try:
                for segment in segments:
                    yield self._here.windows(source, segment, window)
            finally:
                self._here.close()
            return
        waiting: deque[Future[np.ndarray]] = deque()
        left = iter(segments)
        try:
            while True:
                for segment in islice(left, _AHEAD * self.processes - len(waiting)):
                    waiting.append(self._started().submit(_read, source, segment, window))
                if not waiting:
                    return
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            self._pool = None  # the next slide gets new processes
            raise SlideError(
                f"a process that read {source.path} has ended: {MAIN_GUARD}; otherwise it was ended from outside, "
                "perhaps for lack of memory: use fewer --workers, or a smaller --batch"
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Fresh processes: a copy of one that runs threads, as torch does, may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, mp_context=context, initializer=_begin)
        return self._pool

    def __enter__(self) -> "Readers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._here.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


_mine = OpenView()
"""Of a reader process."""


def _read(source: Source, segment: Segment, window: int) -> np.ndarray:
    return _mine.windows(source, segment, window)


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

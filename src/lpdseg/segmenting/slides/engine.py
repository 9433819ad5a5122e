"""Who computes the segments of a slide: the contract of the engines, and the engine of one machine.

C classes, n channels; a strip spans W pixels of a row of windows, each w x w pixels.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from lpdseg.ahead import ahead
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.reading import Readers
from lpdseg.segmenting.slides.view import Source
from lpdseg.segmenting.slides.window_model import Blended, WindowModel

_STRIPS_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """A slide to be computed.

    - `source`: opens it.
    - `segments`: what of it, in order.
    - `window`: side of a window in pixels.
    - `weights`: of a window's pixels in blending, w x w, float32, positive.
    - `prototypes`: whether strips tell which prototypes win.
    - `unrefined`: whether they hold the probabilities before refinement as well.
    """

    source: Source
    segments: Sequence[Segment]
    window: int
    weights: np.ndarray
    prototypes: bool = False
    unrefined: bool = False


@dataclass(frozen=True)
class Strip:
    """What a segment gives.

    - `values`, `winners`: see `lpdseg.segmenting.slides.window_model.Blended`.
    - `waited`: seconds in which the model stood still for pixels.
    - `busy`: seconds that the segment took in all, waiting included.
    """

    segment: Segment
    values: Float32[np.ndarray, "_n w W"]
    waited: float
    busy: float
    winners: UInt8[np.ndarray, "C w W"] | None = None


@runtime_checkable
class Engine(Protocol):
    """Computes the segments of slides, one slide after another."""

    def strips(self, job: Job) -> Generator[Strip, None, None]:
        """The strip of each segment, in the order of the segments. Close it before the next slide.

        **Raises:** `DataError` where the slide cannot be read, or a window does not fit in memory.
        """
        ...

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class _Begun:
    """A segment that is being computed."""

    segment: Segment
    found: Callable[[], Blended]
    waited: float

    def strip(self, since: float) -> Strip:
        """Its strip, once it is there; the model has been at work, or has waited, since then."""
        found = self.found()
        return Strip(self.segment, found.values, self.waited, time.monotonic() - since, found.winners)


class LocalEngine:
    """One model in this process; other processes read ahead of it.

    Threads may ask for several slides. One is computed at a time, and of one other the first segments are read
    meanwhile.

    **Arguments:**

    - `readers`: processes that read; with 0 a thread of this one does.
    """

    def __init__(self, segmenter: Segmenter, readers: int) -> None:
        self.readers = readers
        self._turn, self._next = threading.Lock(), threading.Lock()
        self._model, self._readers = WindowModel(segmenter), Readers(readers)

    def strips(self, job: Job) -> Generator[Strip, None, None]:
        """See `Engine`. Strips are computed while whoever takes them is busy with the ones before."""
        return ahead(self._strips(job), _STRIPS_AHEAD)

    def _strips(self, job: Job) -> Generator[Strip, None, None]:
        """Hands a strip on once the next segment has begun, or must be waited for: then nothing is to be begun."""
        begun: _Begun | None = None
        with ExitStack() as stack:
            with self._next:
                read = stack.enter_context(closing(self._readers.read(job.source, job.segments, job.window)))
                stack.enter_context(self._turn)
            since = time.monotonic()
            for segment in job.segments:
                if begun is not None and not read.ready:
                    yield begun.strip(since)
                    begun, since = None, time.monotonic()
                waiting = time.monotonic()
                pixels = next(read)
                waited = time.monotonic() - waiting
                found = self._model.begin(pixels, segment, job.weights, job.prototypes, job.unrefined)
                before, begun = begun, _Begun(segment, found, waited)
                if before is not None:
                    yield before.strip(since)
                    since = time.monotonic()
        if begun is not None:  # while it is fetched another slide may begin
            yield begun.strip(since)

    def __enter__(self) -> "LocalEngine":
        self._readers.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readers.__exit__(kind, error, trace)

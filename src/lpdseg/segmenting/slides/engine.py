"""Who computes the segments of a slide: the contract of the engines, and the engine of one machine.

C classes, n channels; a strip spans W pixels of a row of windows, each w x w pixels.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
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
from lpdseg.segmenting.slides.window_model import WindowModel

_STRIPS_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """A slide to be computed.

    - `source`: opens it.
    - `segments`: what of it, in order.
    - `window`: side of a window in pixels.
    - `weights`: of a window's pixels in blending, w x w, float32, positive.
    - `prototypes`: whether strips tell which prototypes win.
    """

    source: Source
    segments: Sequence[Segment]
    window: int
    weights: np.ndarray
    prototypes: bool = False


@dataclass(frozen=True)
class Strip:
    """What a segment gives.

    - `values`: Σ weight · probability over its windows.
    - `waited`: seconds in which the model stood still for pixels.
    - `busy`: seconds that the segment took in all, waiting included.
    - `winners`: see `lpdseg.segmenting.slides.window_model.Blended`.
    """

    segment: Segment
    values: Float32[np.ndarray, "n w W"]
    waited: float
    busy: float
    winners: UInt8[np.ndarray, "C w W"] | None = None


@runtime_checkable
class Engine(Protocol):
    """Computes the segments of one slide after another."""

    def strips(self, job: Job) -> Generator[Strip, None, None]:
        """The strip of each segment, in the order of the segments. Close it before the next slide.

        **Raises:** `DataError` where the slide cannot be read, or a window does not fit in memory.
        """
        ...

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalEngine:
    """One model in this process; other processes read ahead of it.

    **Arguments:**

    - `readers`: processes that read; 0 reads in this one, between batches.
    """

    def __init__(self, segmenter: Segmenter, readers: int) -> None:
        self.readers = readers
        self._model, self._readers = WindowModel(segmenter), Readers(readers)

    def strips(self, job: Job) -> Generator[Strip, None, None]:
        """See `Engine`. Strips are computed while whoever takes them is busy with the ones before."""
        return ahead(self._strips(job), _STRIPS_AHEAD)

    def _strips(self, job: Job) -> Generator[Strip, None, None]:
        with closing(self._readers.read(job.source, job.segments, job.window)) as windows:
            for segment in job.segments:
                began = time.monotonic()
                pixels = next(windows)
                waited = time.monotonic() - began
                offsets = tuple(x - segment.lefts[0] for x in segment.lefts)
                found = self._model.strip(pixels, offsets, job.weights, job.prototypes)
                yield Strip(segment, found.values, waited, time.monotonic() - began, found.winners)

    def __enter__(self) -> "LocalEngine":
        self._readers.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readers.__exit__(kind, error, trace)

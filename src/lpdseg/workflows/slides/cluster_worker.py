"""What runs on a node of a cluster."""

import threading
import time
from collections.abc import Callable

import numpy as np
import torch

from lpdseg.errors import LpdsegError
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Strip
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.reading import OpenView
from lpdseg.segmenting.slides.view import Source
from lpdseg.segmenting.slides.window_model import WindowModel


class ClusterWorker:
    """A model, and an open slide. Two threads call it: one reads while the other computes."""

    def __init__(self, build: Callable[[], Segmenter], threads: int) -> None:
        self._build, self._threads = build, threads
        self._view = OpenView()
        self._model: WindowModel | None = None
        self._reading, self._computing = threading.Lock(), threading.Lock()
        self._free_since = 0.0

    def start(self) -> LpdsegError | None:
        """Loads the model, and tells what stood in the way."""
        with self._computing:
            torch.set_num_threads(self._threads)
            try:
                self._model = WindowModel(self._build())
            except LpdsegError as error:
                return error
        return None

    def strip(
        self,
        source: Source,
        segment: Segment,
        window: int,
        weights: np.ndarray,
        prototypes: bool,
        unrefined: bool = False,
    ) -> Strip | LpdsegError:
        """The strip of a segment, or why there is none."""
        assert self._model is not None
        began = time.monotonic()
        try:
            with self._reading:
                pixels = self._view.pixels(source, segment, window)
            waited = max(0.0, time.monotonic() - max(began, self._free_since))
            with self._computing:
                computing = time.monotonic()
                torch.set_num_threads(self._threads)  # each thread has a number of its own
                found = self._model.begin(pixels, segment, weights, prototypes, unrefined)()
                self._free_since = time.monotonic()
            return Strip(segment, found.values, waited, waited + self._free_since - computing, found.winners)
        except LpdsegError as error:
            return error

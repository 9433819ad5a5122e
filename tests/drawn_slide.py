"""A slide that needs no file: pixels that any process can compute for itself."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lpdseg.slides.slide import SlideError


@dataclass(frozen=True)
class DrawnView:
    """Noise; one row of it may be damaged."""

    size: tuple[int, int]
    seed: int
    damaged: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        if self.damaged is not None and y <= self.damaged < y + height:
            time.sleep(0.3 if x == 0 else 0)  # of a row's faults, the first is the last to come
            raise SlideError(f"drawn.svs cannot be read at x {x}, y {y}")
        found = np.full((height, width, 3), 255, np.uint8)
        inside = self.pixels()[y : y + height, x : x + width]
        found[: inside.shape[0], : inside.shape[1]] = inside
        return found

    def pixels(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, 256, (self.size[1], self.size[0], 3), np.uint8)


@dataclass(frozen=True)
class DrawnSource:
    """Opens a drawn view."""

    view: DrawnView
    path: Path = Path("drawn.svs")

    @contextmanager
    def open(self) -> Iterator[DrawnView]:
        yield self.view


@dataclass(frozen=True)
class SlowView(DrawnView):
    """As if it lay on a slow disk."""

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        time.sleep(0.02)
        return super().read(x, y, width, height)


@dataclass(frozen=True)
class FatalView(DrawnView):
    """Whatever process reads its damaged row ends, as where a library crashes."""

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        if self.damaged is not None and y <= self.damaged < y + height:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(x, y, width, height)

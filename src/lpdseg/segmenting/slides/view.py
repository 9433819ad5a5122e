"""A slide at the resolution of a model, and what another process needs to open it again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Mpp


@runtime_checkable
class View(Protocol):
    """A slide as one image of `size` (W, H) pixels; `scale` is (x, y) pixels of level 0 per pixel of it."""

    size: tuple[int, int]
    scale: tuple[float, float]

    def read(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a rectangle; what lies outside is white."""
        ...


@runtime_checkable
class Source(Protocol):
    """What opens a view, in any process that it is sent to. Equal sources open equal views."""

    @property
    def path(self) -> Path:
        """The slide, for errors."""
        ...

    def open(self) -> AbstractContextManager[View]:
        """The view, until the block ends."""
        ...


@dataclass(frozen=True)
class SlideSource:
    """A slide file, read at `wanted` microns per pixel.

    - `mpp`: of its level 0.
    """

    path: Path
    mpp: Mpp
    wanted: float

    @contextmanager
    def open(self) -> Iterator[AtMpp]:
        """The view, until the block ends.

        **Raises:** `SlideError` where the file cannot be opened.
        """
        with closing(open_slide(self.path)) as slide:
            yield AtMpp(slide, self.mpp, self.wanted)

"""What every slide reader gives, whatever the file: a pyramid of levels, and pixels from any of them.

Coordinates are pixels, x to the right and y down. Level 0 is the finest; level l has W_l x H_l pixels, each as wide
as `downsample` pixels of level 0.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from lpdseg.errors import DataError


class SlideError(DataError):
    """A slide that cannot be opened or read, or does not say what is needed of it."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    - `width`, `height`: in its own pixels.
    - `downsample`: (x, y), pixels of level 0 per pixel of this level, from the sizes and not from what a file
      claims.
    """

    width: int
    height: int
    downsample: tuple[float, float]


@dataclass(frozen=True)
class Bounds:
    """The part of level 0 that was scanned; the rest is empty."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Mpp:
    """Microns per pixel of level 0.

    - `source`: where the figure came from, for the record: `--mpp`, the table, a key of the metadata, …
    """

    x: float
    y: float
    source: str


@dataclass(frozen=True)
class SlideFacts:
    """What a slide says of itself.

    - `levels`: finest first; at least one.
    - `mpp`: from the file's metadata or resolution tags; None where it says nothing.
    - `bounds`: None where the whole of level 0 was scanned.
    - `vendor`: as the reader names it, for instance `aperio`; `unknown` where nothing tells.
    - `notes`: what a person should know of the file, in sentences that name it.
    """

    levels: tuple[Level, ...]
    mpp: Mpp | None
    bounds: Bounds | None
    vendor: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0."""
        return self.levels[0].width, self.levels[0].height


@runtime_checkable
class Slide(Protocol):
    """An open slide. One thread or process at a time; opening it again elsewhere is cheap."""

    path: Path
    facts: SlideFacts

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a rectangle of a level, in that level's pixels. What lies outside the level is white.

        **Raises:** `SlideError` where the file is damaged there.
        """
        ...

    def close(self) -> None:
        """Gives the file back; nothing can be read afterwards."""
        ...

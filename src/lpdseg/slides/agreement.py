"""Whether the levels of a pyramid show what level 0 shows.

A level's size can be right and its content wrong: a label of the slide's proportions, a level of another scan,
tiles that were never written.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from lpdseg.slides.slide import Slide, SlideError

_PLACES = (0.25, 0.5, 0.75)
"""Where along each side of a level it is compared."""

_PIXELS = 64
"""Side of a comparison in pixels of the coarser level."""

_CELLS = 8
"""Side of a comparison in cells, whose mean colours are compared."""

_DIFFERENT = 25.0
"""Mean difference in grey levels beyond which two levels differ. A shift by two pixels at the edge of tissue gives
about 5, and so do compression and sharpening; another image gives 40 and more."""


def coarsest_that_agrees(slide: Slide, levels: Sequence[int]) -> int:
    """The last of `levels` that shows what level 0 shows, or 0.

    Each level is compared with the last one that agreed, at nine places. Places that are damaged in either are
    passed over: reading them for good will tell.

    **Arguments:**

    - `levels`: numbers of levels, finest first.
    """
    last = 0
    for level in levels:
        if level and _shows_the_same(slide, last, level):
            last = level
    return last


def _shows_the_same(slide: Slide, finer: int, coarser: int) -> bool:
    fine, coarse = slide.facts.levels[finer], slide.facts.levels[coarser]
    ratio = [c / f for c, f in zip(coarse.downsample, fine.downsample, strict=True)]
    width, height = min(_PIXELS, coarse.width), min(_PIXELS, coarse.height)
    for down in _PLACES:
        for along in _PLACES:
            x = max(min(int(coarse.width * along) - width // 2, coarse.width - width), 0)
            y = max(min(int(coarse.height * down) - height // 2, coarse.height - height), 0)
            box = (round(x * ratio[0]), round(y * ratio[1]), round(width * ratio[0]), round(height * ratio[1]))
            try:
                difference = _cells(slide.read(finer, *box)) - _cells(slide.read(coarser, x, y, width, height))
            except SlideError:
                continue
            if np.abs(difference).mean() > _DIFFERENT:
                return False
    return True


def _cells(pixels: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "cells cells 3"]:
    """Mean colours of a grid of cells."""
    resized = Image.fromarray(pixels).resize((_CELLS, _CELLS), Image.Resampling.BOX)
    return np.asarray(resized, np.float32)

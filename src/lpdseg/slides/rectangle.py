"""Rectangles of an image that may reach beyond it, where everything is white."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lpdseg.slides.slide import SlideError

WHITE = 255


def on_white(
    size: tuple[int, int],
    x: int,
    y: int,
    width: int,
    height: int,
    read: Callable[[int, int, int, int], UInt8[np.ndarray, "inner_height inner_width 3"]],
) -> UInt8[np.ndarray, "height width 3"]:
    """The rectangle's pixels; `read` is asked only for the part inside an image of `size` (width, height).

    **Arguments:**

    - `read`: (x, y, width, height) → RGB, called at most once, with a rectangle that is inside and not empty.
    """
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if left >= right or top >= bottom:
        return np.full((height, width, 3), WHITE, np.uint8)
    inner = read(left, top, right - left, bottom - top)
    if inner.shape == (height, width, 3):
        return inner
    pixels = np.full((height, width, 3), WHITE, np.uint8)
    pixels[top - y : bottom - y, left - x : right - x] = inner
    return pixels


def damaged(path: Path, level: int, x: int, y: int, width: int, height: int, reason: object) -> SlideError:
    """The error for pixels that cannot be decoded; coordinates are those of the level."""
    told = " ".join(str(reason).split()) or type(reason).__name__
    return SlideError(
        f"{path} cannot be read at level {level}, x {x} to {x + width}, y {y} to {y + height} ({told}); "
        "the file is damaged there: copy or export it again"
    )

"""Rectangles that reach beyond an image are white there."""

from pathlib import Path

import numpy as np
from drawn_slides import cut, scene
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.slides.rectangle import damaged, on_white

IMAGE = scene(13, 9)


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 30), st.integers(0, 30))
def test_white_outside_and_read_only_inside(x: int, y: int, width: int, height: int) -> None:
    asked = []

    def read(x: int, y: int, width: int, height: int) -> np.ndarray:
        asked.append((x, y, width, height))
        assert x >= 0 and y >= 0 and 0 < width <= 13 - x and 0 < height <= 9 - y
        return IMAGE[y : y + height, x : x + width]

    found = on_white((13, 9), x, y, width, height, read)
    assert (found == cut(IMAGE, x, y, width, height)).all() and len(asked) <= 1


def test_damage_is_told_in_one_line() -> None:
    told = str(damaged(Path("a.svs"), 2, 5, 6, 10, 20, ValueError("bad\n  bytes")))
    assert told.startswith("a.svs cannot be read at level 2, x 5 to 15, y 6 to 26 (bad bytes);")
    assert "(TimeoutError)" in str(damaged(Path("a.svs"), 2, 5, 6, 10, 20, TimeoutError()))

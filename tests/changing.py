"""Descriptions with something wrong in them, for properties of what reads them."""

import copy
import math
from typing import Any

from hypothesis import strategies as st

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9)
    | st.sampled_from([10**12, 10**400, -1, 1e308, math.nan, math.inf, "\ud800", "x" * 10**5, [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The value with some of those in it, however deep, changed or gone."""
    found = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = found
        while True:
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
            if not isinstance(inner[key], dict | list) or not inner[key] or draw(st.booleans()):
                break
            inner = inner[key]
        if draw(st.booleans()):
            inner[key] = draw(JUNK)
        else:
            del inner[key]
        if not found:
            break
    return found

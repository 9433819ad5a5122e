"""Microns per pixel of level 0: which source comes first, and what is refused."""

import math
from pathlib import Path

from lpdseg.slides.slide import Mpp, SlideError, SlideFacts

FINEST_MPP, COARSEST_MPP = 0.05, 20.0
"""Microns per pixel. Oil immersion gives about 0.1; beyond 20 no tissue can be told from another."""

_APART = 1.05
"""How many times as wide as high a pixel may be, or the other way round."""

_FAR = 1.1
"""How many times coarser than the model a slide may be without a word."""


_OTHER = 1.01
"""How many times another figure a slide may tell of itself without a word: areas then differ by 2 %."""


def resolve_mpp(
    path: Path, facts: SlideFacts, flag: float | None, table: tuple[float, float] | None, slides: int = 1
) -> Mpp:
    """The microns per pixel of level 0, from the first that says something: flag, table, the slide's metadata.

    **Arguments:**

    - `path`: the slide, for the error.
    - `facts`: what the slide says of itself.
    - `flag`: the value of `--mpp`, for both directions.
    - `table`: (x, y) of the slide's line in a table.
    - `slides`: how many the flag is for; the error for a single one recommends it.

    **Raises:** `SlideError` where none says anything, and for a figure outside 0.05 to 20 or with x and y more than
    5 % apart, wherever it is from: a figure that must be wrong is not passed over for the next.
    """
    if flag is not None:
        mpp: Mpp | None = Mpp(flag, flag, "--mpp")
    elif table is not None:
        mpp = Mpp(*table, "the table of slides")
    else:
        mpp = facts.mpp
    if mpp is None:
        raise SlideError(f"{path} does not say how many microns a pixel is; {_remedy(slides)}")
    fault = _fault(mpp)
    if fault is not None:
        remedy = "pass another" if flag is not None else "correct it" if table is not None else _remedy(slides)
        raise SlideError(f"{path}: {_shown(mpp)} microns per pixel, from {mpp.source}, {fault}; {remedy}")
    return mpp


def _remedy(slides: int) -> str:
    if slides == 1:
        return "pass --mpp, for instance --mpp 0.25"
    return (
        "give it a line in --mpp-table, a CSV with the columns slide and mpp (--mpp would be for all "
        f"{slides} slides)"
    )


def warn_if_other(path: Path, facts: SlideFacts, table: tuple[float, float] | None, used: Mpp) -> str | None:
    """A sentence where the table of slides or the slide itself tells another figure than the one that is used."""
    told = [] if table is None else [Mpp(*table, "the table of slides")]
    told += [] if facts.mpp is None else [facts.mpp]
    others = [one for one in told if _is_other(one, used)]
    if not others:
        return None
    said = " and ".join(f"{_shown(one)} from {one.source}" for one in others)
    ratio = used.x * used.y / (others[0].x * others[0].y)
    change = f"{ratio:.3g} times larger" if ratio > 1 else f"{1 / ratio:.3g} times smaller"
    return (
        f"{path}: {_shown(used)} microns per pixel from {used.source} was used, not {said}; areas are "
        f"{change} than by that"
    )


def _is_other(one: Mpp, used: Mpp) -> bool:
    return _fault(one) is None and any(
        max(a, b) > _OTHER * min(a, b) for a, b in ((one.x, used.x), (one.y, used.y))
    )


def warn_if_far(path: Path, mpp: Mpp, wanted: float) -> str | None:
    """A sentence where a slide is more than 10 % coarser than the model's `wanted` microns per pixel, so that it is
    enlarged; None where it is as fine. A finer slide is reduced to what the model was trained on.
    """
    if max(mpp.x, mpp.y) <= wanted * _FAR:
        return None
    return (
        f"{path} has {_shown(mpp)} microns per pixel and is enlarged to {wanted:g}; details that are seen there "
        "may be missing"
    )


def _fault(mpp: Mpp) -> str | None:
    if not all(math.isfinite(value) and FINEST_MPP <= value <= COARSEST_MPP for value in (mpp.x, mpp.y)):
        return f"cannot be right for a slide ({FINEST_MPP:g} to {COARSEST_MPP:g})"
    if max(mpp.x, mpp.y) > _APART * min(mpp.x, mpp.y):
        return "cannot be right: the pixels of a slide are as wide as high, to 5 %"
    return None


def _shown(mpp: Mpp) -> str:
    x, y = f"{mpp.x:.6g}", f"{mpp.y:.6g}"
    return x if x == y else f"{x} x {y}"

"""Which levels of a pyramid fit level 0 and can be used, and how coarse they are.

Level 0 has W_0 x H_0 pixels, level l W_l x H_l.
"""

from collections.abc import Sequence

from lpdseg.slides.slide import Level

_SLACK = 2.0
"""Pixels by which a level's size may differ from its factor: writers round, floor, or round level after level."""

_APART = 0.01
"""Relative difference that a declared downsample may have from the sizes'."""


def trusted_levels(
    sizes: Sequence[tuple[int, int]], declared: Sequence[float] | None = None
) -> tuple[tuple[int, Level], ...]:
    """The levels whose size fits the pyramid, finest first, each with its index in the file.

    Level 0 is what the others are measured by. Another level is dropped, and a finer one read in its place, where

    - it is not smaller than the level kept before it, in both directions;
    - no single factor explains its width and its height to within 2 pixels, so that it was cropped, padded or shows
      something else, such as the label;
    - it declares a downsample that is more than 1 % from that factor, and by more than 2 pixels of its size.

    The downsample of a level is the whole number that explains both sizes to within a pixel, where there is one (a
    level of 250 x 250 pixels of 1003 x 1001 is 4 times coarser, and its writer left out the rest); otherwise
    W_0 / W_l and H_0 / H_l.

    **Arguments:**

    - `sizes`: (width, height) of each level of the file.
    - `declared`: the downsample that the file claims for each level, where it does.
    """
    kept = [(0, Level(*sizes[0], (1.0, 1.0)))]
    for index, size in enumerate(sizes[1:], start=1):
        before = kept[-1][1]
        fits = 0 < size[0] < before.width and 0 < size[1] < before.height and _one_factor(sizes[0], size)
        if fits and (declared is None or _as_declared(sizes[0], size, declared[index])):
            kept.append((index, Level(*size, _downsample(sizes[0], size))))
    return tuple(kept)


def _one_factor(full: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether some factor f has |W_0 / f − W_l| ≤ 2 and |H_0 / f − H_l| ≤ 2."""
    least = max(full[axis] / (size[axis] + _SLACK) for axis in (0, 1))
    most = min(full[axis] / max(size[axis] - _SLACK, 1e-9) for axis in (0, 1))
    return least <= most


def _as_declared(full: tuple[int, int], size: tuple[int, int], declared: float) -> bool:
    if not declared > 0:
        return False
    expected = [full[axis] / declared for axis in (0, 1)]
    return all(abs(expected[axis] - size[axis]) <= max(_SLACK, _APART * size[axis]) for axis in (0, 1))


def _downsample(full: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    ratios = (full[0] / size[0], full[1] / size[1])
    longest = 0 if full[0] >= full[1] else 1
    factor = round(ratios[longest])
    power = 1 << max(factor, 1).bit_length() - 1
    # Powers of two first: for a small level several whole numbers would do.
    for whole in (power, 2 * power, factor):
        if all(abs(full[axis] / whole - size[axis]) < 1 for axis in (0, 1)):
            return float(whole), float(whole)
    return ratios

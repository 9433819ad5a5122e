"""Shades of a colour, to tell apart what is of one class."""

from lpdseg.tissue import Colour

_REACH = 0.6
"""How far the first shade is towards white, and the last towards black."""


def shades(colour: Colour, count: int) -> tuple[Colour, ...]:
    """So many shades from light to dark, which differ where they are 100 at most; the colour itself of one."""
    if count == 1:
        return (colour,)
    light = [value + _REACH * (255 - value) for value in colour]
    dark = [value * (1 - _REACH) for value in colour]
    places = [place / (count - 1) for place in range(count)]
    return tuple(
        (round(r + at * (r_ - r)), round(g + at * (g_ - g)), round(b + at * (b_ - b)))
        for at in places
        for (r, g, b), (r_, g_, b_) in [(light, dark)]
    )

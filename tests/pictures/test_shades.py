import pytest

from lpdseg.pictures.shades import shades
from lpdseg.tissue import COLOUR_BLIND, Colour


@pytest.mark.parametrize("colour", [*COLOUR_BLIND, (255, 255, 255), (255, 0, 0)])
@pytest.mark.parametrize("count", [2, 5, 100])
def test_shades_of_any_colour_differ_and_get_darker(colour: Colour, count: int) -> None:
    found = shades(colour, count)
    assert len(set(found)) == count and all(0 <= value <= 255 for shade in found for value in shade)
    assert [sum(shade) for shade in found] == sorted((sum(shade) for shade in found), reverse=True)


def test_one_shade_is_the_colour_itself() -> None:
    assert shades((12, 200, 7), 1) == ((12, 200, 7),)

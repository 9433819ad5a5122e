"""Colours that people of any colour vision tell apart.

Distances are Euclidean in CAM02-UCS, where 1 is about the least difference that is seen side by side; dichromacy is
simulated after Machado, Oliveira and Fernandes (2009) at full severity. Both are colorspacious's.
"""

import numpy as np
import pytest
from colorspacious import cspace_convert

from lpdseg.errors import SettingsError
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import COLOUR_BLIND, PRESETS, Colour, TissueClasses
from lpdseg.view.layers import STRIPES

VISION = ("usual", "deuteranomaly", "protanomaly", "tritanomaly")


def least_distance(colours: tuple[Colour, ...], vision: str) -> float:
    """Between any two of the colours, as somebody of that vision sees them."""
    rgb = np.array(colours) / 255
    if vision != "usual":
        space = {"name": "sRGB1+CVD", "cvd_type": vision, "severity": 100}
        rgb = np.clip(cspace_convert(rgb, space, "sRGB1"), 0, 1)
    places = cspace_convert(rgb, "sRGB1", "CAM02-UCS")
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return float(apart[~np.eye(len(colours), dtype=bool)].min())


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("count", "least"), [*((n, 15) for n in range(1, 5)), *((n, 10) for n in range(5, 9))])
def test_the_palette_is_told_apart_by_everybody(vision: str, count: int, least: float) -> None:
    classes = TissueClasses(tuple(f"c{number}" for number in range(count)), background=99).in_palette(
        "colour-blind"
    )
    assert least_distance((*classes.colours, classes.background_colour), vision) > least


@pytest.mark.parametrize("vision", VISION)
def test_errors_are_told_from_tissue_and_classes_by_everybody(vision: str) -> None:
    """One of the two stripes at least is unlike whatever lies there."""
    stained = ((180, 120, 170), (230, 170, 200), (240, 238, 242), (120, 70, 140), (70, 45, 100), (215, 120, 160))
    known = {*stained, *COLOUR_BLIND, *(colour for one in PRESETS.values() for colour in one.colours)}
    assert least_distance(STRIPES, vision) > 60
    for colour in known:
        assert max(least_distance((stripe, colour), vision) for stripe in STRIPES) > 30, colour


def test_the_published_colours_are_not() -> None:
    """Necrosis and tumour-associated stroma of LUAD, necrosis and lymphocytes of BCSS: why there is a palette."""
    luad, bcss = PRESETS["luad"].colours, PRESETS["bcss"].colours
    assert least_distance((luad[1], luad[3]), "deuteranomaly") < 8
    assert least_distance((bcss[2], bcss[3]), "protanomaly") < 4


def test_only_colours_change() -> None:
    own = PRESETS["luad"]
    safe = own.in_palette("colour-blind")
    assert safe.colours == COLOUR_BLIND[:4] and own.in_palette("own") is own
    assert (safe.names, safe.indices, safe.background) == (own.names, own.indices, own.background)


def test_more_classes_than_colours_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"has 8 colours, and there are 9 classes"):
        TissueClasses(tuple("abcdefghi")).in_palette("colour-blind")


def test_a_segmenter_draws_in_its_palette(segmenter: Segmenter) -> None:
    safe = segmenter.with_settings(palette="colour-blind")
    image = np.full((32, 32, 3), 120, np.uint8)
    assert safe.segment(image).classes.colours == COLOUR_BLIND[:2] != segmenter.classes.colours
    np.testing.assert_array_equal(safe.segment(image).mask, segmenter.segment(image).mask)
    assert safe.with_settings(palette="own").classes == segmenter.classes


def test_published_names_are_written_out() -> None:
    assert PRESETS["luad"].in_full[1:] == (
        "NEC (necrosis)", "LYM (lymphocytes)", "TAS (tumour-associated stroma)", "background",
    )  # fmt: skip
    assert all(len(one.in_full) == one.channels for one in PRESETS.values())
    assert TissueClasses(("NEC", "fat")).in_full == ("NEC", "fat")

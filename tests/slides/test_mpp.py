"""Who is believed about microns per pixel, and what nobody is believed."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.slides.mpp import resolve_mpp, warn_if_far, warn_if_other
from lpdseg.slides.resolution import mpp_of_resolution
from lpdseg.slides.slide import Level, Mpp, SlideError, SlideFacts

PATH = Path("scans/a.svs")


def facts(mpp: Mpp | None) -> SlideFacts:
    return SlideFacts((Level(100, 80, (1.0, 1.0)),), mpp, None, "unknown")


def test_flag_before_table_before_metadata() -> None:
    told = facts(Mpp(0.25, 0.26, "openslide.mpp-x"))
    assert resolve_mpp(PATH, told, 0.5, (0.3, 0.31)) == Mpp(0.5, 0.5, "--mpp")
    assert resolve_mpp(PATH, told, None, (0.3, 0.31)) == Mpp(0.3, 0.31, "the table of slides")
    assert resolve_mpp(PATH, told, None, None) == told.mpp


def test_nothing_is_guessed() -> None:
    with pytest.raises(SlideError, match=r"^scans/a.svs does not say how many microns .*pass --mpp") as error:
        resolve_mpp(PATH, facts(None), None, None)
    assert "\n" not in str(error.value)


def test_the_flag_is_recommended_for_a_single_slide_alone() -> None:
    silent, absurd = facts(None), facts(Mpp(352.8, 352.8, "the resolution tags"))
    for told in (silent, absurd):
        with pytest.raises(SlideError, match=r"; pass --mpp, for instance --mpp 0\.25$"):
            resolve_mpp(PATH, told, None, None)
        with pytest.raises(SlideError, match=r"--mpp-table, a CSV .* \(--mpp would be for all 3 slides\)$"):
            resolve_mpp(PATH, told, None, None, 3)


def test_another_figure_than_the_slides_own_is_told_with_what_it_does_to_areas() -> None:
    told, used = facts(Mpp(0.5, 0.5, "the resolution tags")), Mpp(0.25, 0.25, "--mpp")
    assert warn_if_other(PATH, told, None, used) == (
        "scans/a.svs: 0.25 microns per pixel from --mpp was used, not 0.5 from the resolution tags; areas are 4 "
        "times smaller than by that"
    )
    both = warn_if_other(PATH, facts(Mpp(0.2, 0.2, "metadata")), (0.2, 0.2), Mpp(0.4, 0.4, "--mpp"))
    assert (
        both is not None and "not 0.2 from the table of slides and 0.2 from metadata; areas are 4 times lar" in both
    )
    for quiet in (facts(None), facts(Mpp(0.2501, 0.2501, "")), facts(Mpp(352.8, 352.8, "a tag for print"))):
        assert warn_if_other(PATH, quiet, None, used) is None


BAD = [0.0, -0.5, 0.049, 20.1, 352.8, math.nan, math.inf]


@pytest.mark.parametrize("value", BAD)
def test_an_absurd_figure_is_refused_with_its_source(value: float) -> None:
    absurd = facts(Mpp(value, value, "the tag"))
    shown = f"{value:.6g}"
    for source, arguments in {
        "--mpp": (facts(None), value, None),
        "the table of slides": (facts(None), None, (value, value)),
        "the tag": (absurd, None, None),
    }.items():
        with pytest.raises(SlideError) as error:
            resolve_mpp(PATH, *arguments)
        told = str(error.value)
        assert told.startswith(f"scans/a.svs: {shown} microns") and source in told
        assert told.endswith(
            "correct it" if source == "the table of slides" else "0.25" if source == "the tag" else "another"
        )


def test_an_absurd_figure_is_not_passed_over_for_the_next() -> None:
    good = facts(Mpp(0.25, 0.25, "metadata"))
    for flag, table in ((0.0, None), (None, (0.0, 0.0)), (None, (0.25, 0.27))):
        with pytest.raises(SlideError):
            resolve_mpp(PATH, good, flag, table)


@given(st.floats(0.05, 20), st.floats(1, 1.2))
def test_x_and_y_may_differ_by_5_percent(x: float, ratio: float) -> None:
    y = min(x * ratio, 20.0)
    if max(x, y) <= 1.05 * min(x, y):
        assert resolve_mpp(PATH, facts(None), None, (x, y)) == Mpp(x, y, "the table of slides")
    else:
        with pytest.raises(SlideError, match="as wide as high"):
            resolve_mpp(PATH, facts(None), None, (x, y))


def test_only_a_coarser_slide_is_worth_a_word() -> None:
    assert warn_if_far(PATH, Mpp(0.25, 0.25, ""), 0.5) is None
    assert warn_if_far(PATH, Mpp(0.549, 0.549, ""), 0.5) is None
    told = warn_if_far(PATH, Mpp(1.0, 1.01, ""), 0.5)
    assert told is not None and "1 x 1.01 microns" in told and "0.5" in told and str(PATH) in told


def test_resolution_tags() -> None:
    found = mpp_of_resolution(40_000.0, 50_800.0, "centimeter")
    assert found is not None and (found.x, found.y) == (0.25, 10_000 / 50_800)
    found = mpp_of_resolution(72.0, 72.0, "inch")  # for `resolve_mpp` to refuse
    assert (
        found is not None
        and found.x == pytest.approx(352.78, abs=0.01)
        and "72 x 72 pixels per inch" in found.source
    )
    assert mpp_of_resolution(1.0, 1.0, "none") is None
    assert mpp_of_resolution(0.0, 1.0, "inch") is None and mpp_of_resolution(1.0, math.nan, "inch") is None

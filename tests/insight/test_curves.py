import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.insight.curves import Axis, Series, line_chart

values = st.floats(-1e6, 1e6, allow_nan=False)


def points(svg: str, number: int = 0) -> list[tuple[float, float]]:
    line = next(e for e in ET.fromstring(svg).iter("polyline") if e.get("class") == f"line line-{number}")
    return [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]


def test_place_is_linear_and_may_run_downwards() -> None:
    axis = Axis(0, 10, 160, 20)
    assert [axis.place(value) for value in (0, 5, 10)] == [160, 90, 20]


@given(st.lists(values, min_size=1, max_size=20))
def test_axis_holds_its_values_between_round_ends(found: list[float]) -> None:
    axis = Axis.around(found, 0, 1)
    slack = 1e-9 * max(1, abs(axis.low), abs(axis.high))
    assert axis.low - slack <= min(found) <= max(found) <= axis.high + slack
    assert axis.low < axis.high
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


def test_ticks_are_round() -> None:
    assert Axis(0, 1314, 0, 1).ticks(4) == (0, 500, 1000)
    assert Axis(0.1, 0.9, 0, 1).ticks(4) == (0.2, 0.4, 0.6, 0.8)


def test_line_goes_through_the_right_coordinates() -> None:
    svg = line_chart([Series("loss", ((0, 1.0), (50, 0.5), (100, 0.0)))], title="loss", width=360, height=190)
    # From 44 to 348 across; 0 at the bottom (160) and 1 at the top (12).
    assert points(svg) == [(44, 12), (196, 86), (348, 160)]


def test_range_of_x_is_shared_where_asked() -> None:
    svg = line_chart([Series("late", ((50, 1.0), (100, 0.0)))], title="t", x_range=(0, 100))
    assert points(svg)[0] == (196, 12)


def test_several_lines_are_named_without_overlap() -> None:
    svg = line_chart([Series(name, ((0, 0.0), (1, 0.5))) for name in ("a", "b", "c")], title="t")
    places = [float(e.get("y", "")) for e in ET.fromstring(svg).iter("text") if "name" in e.get("class", "")]
    assert len(places) == 3
    assert min(b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)) >= 13.9


def test_says_its_ends_and_escapes_names() -> None:
    svg = line_chart([Series("<b>&", ((0, 0.75), (10, 0.25)))], title='a "title"', dots=True)
    label = ET.fromstring(svg).get("aria-label")
    assert label == 'a "title": <b>& from 0.75 at 0 to 0.25 at 10'
    assert "<b>" not in svg


def test_what_is_said_of_a_mark_stands_above_the_lines() -> None:
    svg = line_chart([Series("x", ((0, 0.0), (10, 100.0)))], title="t", mark=(10, "here"))
    texts = {one.text: float(one.get("y", "nan")) for one in ET.fromstring(svg).iter("text")}
    line = next(one for one in ET.fromstring(svg).iter("line") if one.get("class") == "mark")
    assert texts["here"] < min(float(line.get(y, "nan")) for y in ("y1", "y2"))


def test_one_point_is_a_dot() -> None:
    svg = line_chart([Series("x", ((3, 7.0),))], title="t", mark=(3, "here"))
    assert len(list(ET.fromstring(svg).iter("circle"))) == 1


@pytest.mark.parametrize("value", [0.0, 1234.5, 1e-9, 3e12])
def test_any_size_can_be_drawn(value: float) -> None:
    svg = line_chart([Series("x", ((0, value), (1, value * 2 + 1e-9)))], title="t")
    assert not re.search(r"nan|inf", svg)

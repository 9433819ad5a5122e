"""Line charts as inline SVG: no script, no fonts of their own, colours from the page so that dark pages work.

Lengths are SVG user units; the chart scales to the width that the page gives it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_LEFT, _TOP, _BOTTOM = 44.0, 12.0, 30.0
_LABEL_GAP = 14.0  # between the labels of lines that end side by side
_CHARACTER = 6.4  # mean width of a letter at the labels' size


@dataclass(frozen=True)
class Series:
    """One line: its name, and (x, y) in increasing x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Axis:
    """A linear scale from values `low`..`high` to lengths `start`..`end`; `end` may be the smaller one."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> tuple[float, ...]:
        """Round values in the axis' range, at most `most` + 1 of them."""
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(round(self.low / step, 9))
        last = math.floor(round(self.high / step, 9))
        return tuple(round(number * step, 12) for number in range(first, last + 1))

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> "Axis":
        """An axis that starts and ends at round values and holds all of `values`."""
        known = list(values)
        low, high = min(known), max(known)
        if high == low:
            room = max(0.5, abs(low) / 10)
            low, high = low - room, high + room
        step = _round_step((high - low) / 5)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str = "step",
    dots: bool = False,
    mark: tuple[float, str] | None = None,
    x_range: tuple[float, float] | None = None,
    width: float = 360,
    height: float = 190,
) -> Markup:
    """Draws lines over one pair of axes.

    **Arguments:**

    - `series`: at least one, each with at least one point; several are named at their right ends.
    - `title`: what screen readers say the chart shows; the ends of each line are told after it.
    - `dots`: show each point, with its value on hovering.
    - `mark`: an x and the label of a vertical line there.
    - `x_range`: first and last x; those of the data when None.

    **Returns:** an `<svg>` element. Line i has the class `line-i`, counted from 0.
    """
    room = max(len(one.name) for one in series) * _CHARACTER + 14 if len(series) > 1 else 12
    xs = [x for one in series for x, _ in one.points]
    low, high = x_range or (min(xs), max(xs))
    across = Axis(low, high if high > low else low + 1, _LEFT, width - room)
    up = Axis.around((y for one in series for _, y in one.points), height - _BOTTOM, _TOP)
    parts = [*_grid(across, up, height, x_label), *([] if mark is None else _mark(across, up, *mark))]
    for number, one in enumerate(series):
        parts += _line(number, one, across, up, dots)
    if len(series) > 1:
        parts += _names(series, across.end, up)
    body = Markup("").join(parts)
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _number(width), _number(height), _said(title, series), body
    )


def _said(title: str, series: Sequence[Series]) -> str:
    ends = [
        f"{one.name} from {_value(one.points[0][1])} at {_value(one.points[0][0])} "
        f"to {_value(one.points[-1][1])} at {_value(one.points[-1][0])}"
        for one in series
    ]
    return f"{title}: {'; '.join(ends)}"


def _grid(across: Axis, up: Axis, height: float, x_label: str) -> list[Markup]:
    parts = []
    for tick in up.ticks(4):
        y = _number(up.place(tick))
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _number(across.start), _number(across.end), y, y
            )
        )
        parts.append(_text(across.start - 6, up.place(tick) + 3.5, _value(tick), "end"))
    ticks = across.ticks(4)
    for tick in ticks:
        label = f"{x_label} {_value(tick)}" if tick == ticks[-1] else _value(tick)
        anchor = "end" if tick == ticks[-1] and across.place(tick) > across.end - 30 else "middle"
        parts.append(_text(across.place(tick), height - 10, label, anchor))
    return parts


def _mark(across: Axis, up: Axis, x: float, label: str) -> list[Markup]:
    place = _number(across.place(x))
    line = Markup('<line class="mark" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        place, place, _number(up.end), _number(up.start)
    )
    leftwards = across.place(x) > (across.start + across.end) / 2
    return [
        line,
        _text(across.place(x) + (-5 if leftwards else 5), up.end - 3, label, "end" if leftwards else "start"),
    ]


def _line(number: int, one: Series, across: Axis, up: Axis, dots: bool) -> list[Markup]:
    places = [(across.place(x), up.place(y)) for x, y in one.points]
    path = " ".join(f"{_number(x)},{_number(y)}" for x, y in places)
    parts = [Markup('<polyline class="line line-{}" points="{}"/>').format(number, path)]
    if dots or len(places) == 1:
        parts += [
            Markup('<circle class="dot line-{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
                number, _number(px), _number(py), f"{one.name}, {_value(x)}: {_value(y)}"
            )
            for (px, py), (x, y) in zip(places, one.points, strict=True)
        ]
    return parts


def _names(series: Sequence[Series], right: float, up: Axis) -> list[Markup]:
    """Names beside the lines' ends, pushed apart where they would overlap."""
    ends = sorted((up.place(one.points[-1][1]), number) for number, one in enumerate(series))
    places: list[float] = []
    for y, _ in ends:
        places.append(max(y, places[-1] + _LABEL_GAP) if places else y)
    shift = max(0.0, places[-1] - up.start)
    return [
        _text(right + 7, y - shift + 3.5, series[number].name, "start", f"name line-{number}")
        for y, (_, number) in zip(places, ends, strict=True)
    ]


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, _number(x), _number(y), anchor, escape(text)
    )


def _round_step(size: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least `size`."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * (1 - 1e-9))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _value(value: float) -> str:
    """Four significant digits, thousands separated, without an exponent where one can do without."""
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}" if value else "0"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.1e}"

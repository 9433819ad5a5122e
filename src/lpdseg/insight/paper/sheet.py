"""A sheet of paper, whose parts are placed in millimetres from its upper left corner.

Text stays text in SVG and PDF, so that journals can edit and people can search it; the same input gives the same
bytes. Names are never read as formulas.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.errors import OutputError
from lpdseg.extras import needed
from lpdseg.files import replacing
from lpdseg.outputs import FIGURE, WRITER, check_file
from lpdseg.plain import one_line
from lpdseg.tissue import Colour

MM = 1 / 25.4
POINTS = 7.0
"""Size of the letters, which journals want between 5 and 7 or 8 points in the printed figure."""
SMALL, _SMALLEST = 6.0, 5.0
SOFT, RULE = "#5c626b", "#9aa0a8"
_LINE = POINTS * 0.3528 * 1.6  # mm
_KINDS = (".png", ".svg", ".pdf")
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],  # the first comes with matplotlib
    "font.size": POINTS,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "lpdseg",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "savefig.facecolor": "white",
    "path.simplify": False,
}


class Sheet:
    """A white sheet of `width` x `height` mm."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width * MM, height * MM))
        self._pen = FigureCanvasAgg(self.figure).get_renderer()

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes of matplotlib in that place."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def picture(
        self, pixels: UInt8[np.ndarray, "H W 3"], left: float, top: float, width: float, height: float
    ) -> Any:
        """Pixels as they are, framed; vector formats keep every one of them."""
        axes = self.axes(left, top, width, height)
        axes.imshow(pixels, interpolation="none", aspect="auto", extent=(0, 1, 1, 0))
        axes.set(xticks=(), yticks=(), xlim=(0, 1), ylim=(1, 0))
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.4, edgecolor=RULE)
        return axes

    def text(self, x: float, y: float, text: str, *, room: float | None = None, **look: Any) -> Any:
        """Text at a place; where it would be longer than `room` mm letters are smaller, or fewer."""
        look = {"ha": "left", "va": "center", "fontsize": POINTS, **look}
        if room is not None:
            long = self.length(text, look["fontsize"], look.get("fontweight"))
            look["fontsize"] = min(look["fontsize"], max(_SMALLEST, look["fontsize"] * room / max(long, 1e-9)))
        shown = self.fitted(text, room, look["fontsize"], look.get("fontweight"))
        return self.figure.text(x / self.width, 1 - y / self.height, shown, **look)

    def length(self, text: str, points: float = POINTS, weight: str | None = None) -> float:
        """How long a text is, in mm."""
        from matplotlib.text import Text

        shown = Text(0, 0, one_line(text), fontsize=points, fontweight=weight, figure=self.figure)
        return float(shown.get_window_extent(self._pen).width) / (self.figure.dpi * MM)

    def fitted(self, text: str, room: float | None, points: float = POINTS, weight: str | None = None) -> str:
        """The text in one line, with an ellipsis where it would be longer than `room` mm."""
        text = one_line(text)
        if room is None or self.length(text, points, weight) <= room * 1.001:
            return text
        while text and self.length(text + "…", points, weight) > room:
            text = text[:-1]
        return text.rstrip() + "…"

    def legend(self, entries: Sequence[tuple[str, Colour]], left: float, top: float) -> None:
        """Boxes of colour with their names, over as many rows as `legend_height` says."""
        for (name, colour), (x, y) in zip(entries, self._places(entries, left), strict=True):
            self.box(left + x, top + y + _LINE / 2, colour)
            self.text(left + x + 3, top + y + _LINE / 2, name, room=self.width - left - x - 3)

    def box(self, left: float, middle: float, colour: Colour, side: float = 2.1) -> None:
        """A square of a colour."""
        from matplotlib.patches import Rectangle

        size = (side / self.width, side / self.height)
        corner = (left / self.width, 1 - (middle + side / 2) / self.height)
        look: dict[str, Any] = {"facecolor": rgb(colour), "edgecolor": RULE, "linewidth": 0.4}
        self.figure.add_artist(Rectangle(corner, *size, transform=self.figure.transFigure, **look))

    def _places(self, entries: Sequence[tuple[str, Colour]], left: float) -> list[tuple[float, float]]:
        places, x, y = [], 0.0, 0.0
        for name, _ in entries:
            long = 3 + self.length(name) + 3.5
            if x > 0 and left + x + long > self.width:
                x, y = 0.0, y + _LINE
            places.append((x, y))
            x += long
        return places


def legend_height(entries: Sequence[tuple[str, Colour]], width: float, left: float) -> float:
    """How high the legend of a sheet of that width will be, in mm."""
    places = Sheet(width, 10.0)._places(entries, left)
    return places[-1][1] + _LINE if places else 0.0


def check_figure(path: Path) -> None:
    """Says before any work what would stop the writing of a figure.

    **Raises:** `SettingsError` where matplotlib is missing; `OutputError` for an ending that is no format, and for
    a file that is there and no figure.
    """
    if path.suffix.lower() not in _KINDS:
        raise OutputError(
            f"{path} must end in {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, which says what is written"
        )
    needed("figures", "matplotlib")
    check_file(path, FIGURE)


def write_figure(path: Path, draw: Callable[[], Sheet], dpi: int, told: str = "") -> tuple[str, ...]:
    """Draws a sheet in the common style and writes it, by the ending of `path`.

    **Arguments:**

    - `dpi`: pixels per inch of a PNG; in other formats pictures keep their own pixels.
    - `told`: what the figure shows, which goes into the file's metadata.

    **Returns:** what to tell about letters that the font does not have.

    **Raises:** as `check_figure`; `OutputError` where the file cannot be written.
    """
    check_figure(path)
    import matplotlib

    kind = path.suffix.lower()[1:]
    told = one_line(told)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": WRITER, "Description": told},
        "svg": {"Date": None, "Creator": WRITER, "Description": told},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": WRITER, "Subject": told},
    }
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sheet = draw()
        with replacing(path) as temporary:
            sheet.figure.savefig(temporary, format=kind, dpi=dpi, metadata=metadata[kind])
    if any("missing from" in str(one.message) for one in caught):
        return (f"{path} shows letters as boxes that its font lacks; SVG leaves the font to who opens it",)
    return ()


def rgb(colour: Colour) -> tuple[float, float, float]:
    """0..255 → 0..1."""
    return colour[0] / 255, colour[1] / 255, colour[2] / 255

"""Small pieces of HTML, for notebooks and pages; every text in them is escaped."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from lpdseg.plain import plain_text
from lpdseg.tissue import Colour, TissueClasses


def picture_uri(picture: Image.Image) -> str:
    """A picture as a PNG data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def text_html(text: object) -> str:
    """A text that nothing can be injected by."""
    return escape(plain_text(str(text)))


def table_html(caption: str, rows: Sequence[Sequence[object]], colours: Sequence[Colour | None] = ()) -> str:
    """A table below its caption; the first column names the rows.

    **Arguments:**

    - `rows`: the first one is the head where there is more than one column of values.
    - `colours`: of the rows, shown as a box before the name; None for none.
    """
    lines = []
    for place, row in enumerate(rows):
        colour = colours[place] if place < len(colours) else None
        first, *values = map(text_html, row)
        cell = "th" if len(values) > 1 and place == 0 else "td"
        side = "left" if len(values) == 1 else "right"
        lines.append(
            f'<tr><th style="text-align:left">{_box(colour)}{first}</th>'
            + "".join(f'<{cell} style="text-align:{side}">{value}</{cell}>' for value in values)
            + "</tr>"
        )
    return f"<div>{text_html(caption)}</div><table>{''.join(lines)}</table>"


def classes_html(caption: str, classes: TissueClasses, values: Iterable[float], form: str) -> str:
    """A value of each class, or of each channel, in the given form such as `.0%`, with the class's colour."""
    rows = [(name, format(value, form)) for name, value in zip(classes.channel_names, values, strict=False)]
    return table_html(caption, rows, (*classes.colours, classes.background_colour))


def picture_html(picture: Image.Image, said: str, width: int) -> str:
    """A picture inside the page, `width` pixels wide on the screen; `said` is for who cannot see it."""
    look = f"width:{width}px;max-width:100%;image-rendering:pixelated;border:1px solid #999"
    return f'<img src="{picture_uri(picture)}" alt="{text_html(said)}" style="{look}">'


def _box(colour: Colour | None) -> str:
    if colour is None:
        return ""
    shown = "#{:02x}{:02x}{:02x}".format(*colour)
    size = "display:inline-block;width:.8em;height:.8em;margin-right:.4em;border:1px solid #999"
    return f'<span style="{size};background:{shown}"></span>'

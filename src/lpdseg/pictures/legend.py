"""The strip below a picture that says what its colours mean."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from lpdseg.tissue import Colour

SMALL = 11
"""Height of the letters, in pixels, below a patch."""


def legend(entries: Sequence[tuple[str, Colour]], width: int, letters: int = SMALL) -> Image.Image:
    """A white RGB picture with a coloured box before each text, in as many rows as the width asks for.

    **Arguments:**

    - `entries`: text and RGB in 0..255, at least one.
    - `width`: in pixels; the strip is wider only where one entry does not fit.
    - `letters`: height of letters and boxes in pixels.
    """
    font = ImageFont.load_default(letters)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    gap = round(letters / 2.75)
    box, row = letters, letters + 2 * gap
    sizes = [box + gap + round(pen.textlength(text, font)) + 3 * gap for text, _ in entries]
    places: list[tuple[int, int]] = []
    x, y = gap, 0
    for size in sizes:
        if x > gap and x + size > width:
            x, y = gap, y + row
        places.append((x, y))
        x += size
    right = max(place[0] + size for place, size in zip(places, sizes, strict=True))
    strip = Image.new("RGB", (max(width, right), y + row), "white")
    pen = ImageDraw.Draw(strip)
    for (left, top), (text, colour) in zip(places, entries, strict=True):
        pen.rectangle((left, top + gap, left + box, top + gap + box), colour, "gray")
        pen.text((left + box + gap, top + row // 2), text, "black", font, anchor="lm")
    return strip

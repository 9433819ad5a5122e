"""A bar of a round length in a picture's corner."""

import math

from PIL import Image, ImageDraw, ImageFont


def round_length(longest: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `longest`, which is above 0."""
    power = 10 ** math.floor(math.log10(longest))
    # The logarithm of what lies next to a power of ten may be rounded to its other side.
    return float(max(factor * power for factor in (0.5, 1, 2, 5, 10) if factor * power <= longest))


def length_text(microns: float, unit: str = "um") -> str:
    """Millimetres from 1 mm on, else microns: `um` where Pillow draws them, whose own font has no Greek."""
    return f"{microns / 1000:g} mm" if microns >= 1000 else f"{microns:g} {unit}"


def draw_scale_bar(picture: Image.Image, mpp: float, letters: int) -> None:
    """Draws a bar of a round length, at most a fifth of the width, into the lower left corner.

    **Arguments:**

    - `mpp`: microns per pixel of the picture.
    - `letters`: height of the letters in pixels.
    """
    microns = round_length(picture.width / 5 * mpp)
    text = length_text(microns)
    length, thick, margin = round(microns / mpp), max(letters // 5, 2), letters
    pen = ImageDraw.Draw(picture)
    bottom = picture.height - margin
    font = ImageFont.load_default(letters)
    around = (
        margin // 2,
        bottom - thick - round(1.6 * letters),
        margin + length + margin // 2,
        bottom + margin // 2,
    )
    right = max(around[2], margin + round(pen.textlength(text, font)) + margin // 2)
    pen.rectangle((around[0], around[1], right, around[3]), "white")
    pen.rectangle((margin, bottom - thick, margin + length, bottom), "black")
    pen.text((margin, bottom - thick - letters // 4), text, "black", font, anchor="ls")

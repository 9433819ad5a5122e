"""A slide under its mask as one small picture, to look at first.

H x W pixels of the grid; h x w of the picture.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from lpdseg.export.areas import class_areas
from lpdseg.export.view import View
from lpdseg.files import replacing
from lpdseg.pictures.legend import legend
from lpdseg.pictures.masks import class_palette, outlines, tint
from lpdseg.pictures.scale_bar import draw_scale_bar
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds

_ROWS = 256
"""Rows of the view or grid that are read at once, or what one row of the picture needs."""

_FINER = 4
"""Labels per pixel of the picture, to each side, among which the commonest is sought."""


def write_slide_overlay(view: View, label_map: LabelMap, path: Path, longest: int = 2048) -> None:
    """Writes a PNG of the slide, tinted and outlined where the mask has a class, with a scale bar, and below it
    each class with its colour, its area and its share of the tissue, and what the model was trained on. Background
    keeps the colours of the slide. Of a slide of which a part was scanned, it shows that part.

    **Arguments:**

    - `view`: the slide at any resolution. A view of about the picture's resolution is read fastest, since slides
      hold smaller levels.
    - `longest`: the longer side of the picture in pixels; slides that are smaller are not enlarged.

    Both are read in bands, so that memory holds the picture and a band.

    **Raises:** `SlideError` where the slide is damaged; `OutputError` where the file cannot be written.
    """
    classes = label_map.classes
    shown = label_map.bounds or Bounds(0, 0, *label_map.slide_size)
    # Pixels of level 0 per pixel of the picture.
    step = max(max(shown.width, shown.height) / longest, *label_map.scale)
    width, height = (max(round(side / step), 1) for side in (shown.width, shown.height))
    corner = shown.x, shown.y
    picture = np.concatenate(list(_thumbnail(view, corner, step, width, height)))
    index = np.concatenate(list(_small_mask(label_map, corner, step, width, height)))
    tinted = tint(picture, index, classes, opacity=0.35)
    edge = outlines(index) & (index < len(classes))
    tinted[edge] = class_palette(classes)[index[edge]]
    letters = max(round(max(width, height) / 64), 11)
    sheet = Image.fromarray(tinted)
    draw_scale_bar(sheet, step * label_map.mpp[0] / label_map.scale[0], letters)
    strip = legend(
        [
            # Pillow's own font has no superscripts and no Greek letters.
            (f"{area.name}: {_shown(area.mm2)} sq mm, {area.percent:.0f} %", colour)
            for area, colour in zip(class_areas(label_map), classes.colours, strict=True)
        ],
        width,
        letters,
    )
    words = _words(label_map.about, max(width, strip.width), letters)
    whole = Image.new("RGB", (max(width, strip.width), height + strip.height + words.height), "white")
    whole.paste(sheet)
    whole.paste(strip, (0, height))
    whole.paste(words, (0, height + strip.height))
    with replacing(path) as temporary:
        whole.save(temporary, format="PNG")


def _thumbnail(
    view: View, corner: tuple[int, int], step: float, width: int, height: int
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Bands of the slide's picture: each pixel is the mean of what it covers."""
    across, down = (step / scale for scale in view.scale)
    x, y = (at / scale for at, scale in zip(corner, view.scale, strict=True))
    left, right = math.floor(x), math.ceil(x + width * across)
    for top, bottom in _bands(height, down):
        first, last = math.floor(y + top * down), math.ceil(y + bottom * down)
        band = Image.fromarray(view.read(left, first, right - left, last - first))
        box = (x - left, y + top * down - first, x + width * across - left, y + bottom * down - first)
        yield np.asarray(band.resize((width, bottom - top), Image.Resampling.BOX, box))


def _small_mask(
    label_map: LabelMap, corner: tuple[int, int], step: float, width: int, height: int
) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Bands of the mask: each pixel has the commonest of up to 4 x 4 labels that it covers."""
    columns, rows = label_map.size
    across, down = (step / scale for scale in label_map.scale)
    left, upper = (at / scale for at, scale in zip(corner, label_map.scale, strict=True))
    x = _sampled(left, across, 0, width, columns)
    for top, bottom in _bands(height, down):
        y = _sampled(upper, down, top, bottom, rows)
        labels = np.asarray(label_map.labels[y[0] : y[-1] + 1, 0:columns], np.uint8)[y - y[0]][:, x]
        samples = labels.reshape(bottom - top, _FINER, width, _FINER)
        counts = [(samples == c).sum((1, 3)) for c in range(len(label_map.classes) + 1)]
        yield np.argmax(counts, 0).astype(np.uint8)


def _sampled(start: float, step: float, first: int, last: int, length: int) -> np.ndarray:
    """The pixels of the grid at the middles of the quarters of the picture's pixels `first` to `last`."""
    middles = start + (np.arange(first * _FINER, last * _FINER) + 0.5) * (step / _FINER)
    return np.minimum(middles.astype(np.int64), length - 1)


def _bands(height: int, step: float) -> Iterator[tuple[int, int]]:
    """First row of the picture, and the one after the last."""
    rows = max(int(_ROWS / step), 1)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _words(text: str, width: int, letters: int) -> Image.Image:
    """A sentence in grey, in as many lines as it needs; no line for none."""
    font, gap = ImageFont.load_default(letters), letters // 2
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines: list[str] = []
    for word in text.replace("µ", "u").split():  # Pillow's own font has no Greek letters
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font) <= width - 2 * gap:
            lines[-1] = longer
        else:
            lines.append(word)
    strip = Image.new("RGB", (width, len(lines) * (letters + gap) + (gap if lines else 0)), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(strip).text((gap, gap + number * (letters + gap)), line, "dimgray", font)
    return strip


def _shown(mm2: float) -> str:
    """Three significant digits, without an exponent."""
    if mm2 == 0:
        return "0"
    return f"{mm2:.{max(2 - math.floor(math.log10(mm2)), 0)}f}"

"""Arrays → pictures for pages: heat maps, sheets of examples, and PNG data URIs.

Masks here have internal indices: class c is c, background C, left-out pixels `IGNORE`.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from lpdseg.pictures.html import picture_uri
from lpdseg.pictures.masks import class_palette, colour_mask
from lpdseg.tissue import TissueClasses

_OUTLINE = (20, 20, 20)
_HEAT_STOPS = (
    (0.0, (16, 12, 38)), (0.2, (62, 24, 98)), (0.4, (139, 38, 105)), (0.6, (207, 70, 73)),
    (0.8, (245, 143, 53)), (1.0, (252, 246, 190)),
)  # fmt: skip
_WINNER_COLOURS = (
    (68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119),
    (187, 187, 187), (153, 85, 20), (15, 32, 128), (180, 255, 200),
)  # fmt: skip


def heat_palette() -> UInt8[np.ndarray, "256 3"]:
    """RGB for 0..255: dark to light through purple and orange, of steadily rising lightness."""
    places, colours = zip(*_HEAT_STOPS, strict=True)
    table = [np.interp(np.linspace(0, 1, 256), places, channel) for channel in np.array(colours).T]
    return np.stack(table, 1).round().astype(np.uint8)


def number_palette() -> UInt8[np.ndarray, "256 3"]:
    """RGB by number, for things that have no colour of their own; repeats after 10."""
    return np.resize(np.array(_WINNER_COLOURS, np.uint8), (256, 3))


def quantise(values: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """[0, 1] → 0..255, for `heat_palette`; values outside are clipped."""
    levels: UInt8[np.ndarray, "H W"] = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return levels


def heat_over(
    image: UInt8[np.ndarray, "H W 3"], heat: Float[np.ndarray, "H W"], inside: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The image in grey under a heat map of [0, 1], opaque where it is hot; `inside` has a dark outline."""
    grey = (
        80 + 0.68 * (image @ np.array((0.299, 0.587, 0.114)))[..., None]
    )  # pale, so that cold tissue stays visible
    levels = quantise(heat)
    opacity = (0.1 + 0.7 * levels / 255)[..., None]
    shown = (1 - opacity) * grey + opacity * heat_palette()[levels]
    shown[_outline(inside)] = _OUTLINE
    pixels: UInt8[np.ndarray, "H W 3"] = shown.round().astype(np.uint8)
    return pixels


def _outline(inside: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The pixels inside that touch others; the picture's edge is no border."""
    edge = np.zeros_like(inside)
    for axis in (0, 1):
        for step in (-1, 1):
            near = np.roll(inside, step, axis)
            rim = [slice(None), slice(None)]
            rim[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            near[tuple(rim)] = True
            edge |= inside & ~near
    return edge


def rgb_uri(image: UInt8[np.ndarray, "H W 3"], side: int = 256) -> str:
    """An RGB picture as a PNG data URI, made smaller where a side is longer than `side` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture_uri(picture)


def photo_uri(image: UInt8[np.ndarray, "H W 3"], quality: int = 88) -> str:
    """An RGB picture as a JPEG data URI: a fifth of the size where there are many, and pixels need not be exact."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def indexed_uri(values: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"], side: int = 256) -> str:
    """Indices and their colours as a PNG data URI, made smaller as `rgb_uri` does, without mixing colours."""
    picture = Image.fromarray(values)
    picture.thumbnail((side, side), Image.Resampling.NEAREST)
    picture.putpalette(palette.tobytes())
    return picture_uri(picture)


@dataclass(frozen=True)
class Example:
    """A patch, its true mask and its predicted one, and a word above them."""

    image: UInt8[np.ndarray, "H W 3"]
    truth: UInt8[np.ndarray, "H W"]
    mask: UInt8[np.ndarray, "H W"]
    note: str = ""


def example_sheet(examples: Sequence[Example], classes: TissueClasses, tile: int = 168) -> Image.Image:
    """One picture of several patches: a column each, with image, truth and prediction, and a legend below."""
    gap, margin, head, left, foot = 6, 14, 30, 84, 42
    width = left + len(examples) * (tile + gap) - gap + margin
    sheet = Image.new("RGB", (width, head + 3 * (tile + gap) - gap + foot), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, name in enumerate(("image", "truth", "predicted")):
        top = head + row * (tile + gap)
        draw.text((left - 10, top + tile // 2), name, "black", font, anchor="rm")
        for column, example in enumerate(examples):
            place = (left + column * (tile + gap), top)
            sheet.paste(_tile(example, row, classes, tile), place)
            draw.rectangle((*place, place[0] + tile - 1, top + tile - 1), outline=(210, 210, 210))
    for column, example in enumerate(examples):
        draw.text(
            (left + column * (tile + gap) + tile // 2, head // 2), example.note, (80, 80, 80), font, anchor="mm"
        )
    x, y = left, sheet.height - foot // 2
    for index, name in enumerate(classes.channel_names):
        draw.rectangle((x, y - 7, x + 14, y + 7), tuple(class_palette(classes)[index].tolist()), "gray")
        draw.text((x + 21, y), name, "black", font, anchor="lm")
        x += 21 + round(draw.textlength(name, font)) + 22
    return sheet


def _tile(example: Example, row: int, classes: TissueClasses, tile: int) -> Image.Image:
    if row == 0:
        return Image.fromarray(example.image).resize((tile, tile), Image.Resampling.LANCZOS)
    coloured = colour_mask((example.truth, example.mask)[row - 1], classes)
    return Image.fromarray(coloured).resize((tile, tile), Image.Resampling.NEAREST)

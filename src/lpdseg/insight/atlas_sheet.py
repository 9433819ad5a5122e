"""An atlas as one picture: a row per class, a column per prototype, each with its most typical patches."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from lpdseg.files import replacing
from lpdseg.insight.atlas import Atlas, Card, Plate
from lpdseg.insight.atlas_page import heat_of, per_cent
from lpdseg.insight.pictures import heat_palette
from lpdseg.outputs import WRITER
from lpdseg.tissue import Colour

_MOST_BYTES = 500_000
_NARROWEST = 740  # what the legend needs
_TILES = (160, 144, 128, 112, 96, 84, 72, 64)
_STEPS, _MOST_CLASSES = 32, 32
_TWO_UP_TO = 6  # columns in which there is room for two patches side by side
_GAP, _HEAD, _FOOT, _MARGIN, _CAPTION, _LEFT = 10, 14, 40, 14, 22, 118
_INK, _SOFT, _RULE, _EMPTY, _WARN = (27, 29, 33), (92, 98, 107), (201, 205, 210), (241, 242, 244), (180, 85, 29)


def save_atlas_picture(atlas: Atlas, path: Path) -> None:
    """Writes the picture as a PNG below 500 kB: tiles are made smaller until it fits, down to 64 pixels.

    **Raises:** `OutputError` where the file cannot be written.
    """
    ramp = [(red, green, blue) for red, green, blue in heat_palette()[:: 256 // _STEPS].tolist()]
    exact = [*ramp, *atlas.classes.colours[:_MOST_CLASSES], _INK, _SOFT, _WARN, _RULE, (255, 255, 255)]
    for tile in _TILES:
        body = _png(atlas_picture(atlas, tile), exact)
        if len(body) < _MOST_BYTES:
            break
    with replacing(path) as temporary:
        temporary.write_bytes(body)


def atlas_picture(atlas: Atlas, tile: int = 128) -> Image.Image:
    """Each cell: the patches that show the prototype best, below them the same under the prototype's map."""
    columns = max(1, *(len(plate.cards) for plate in atlas.plates))
    across = 2 if columns <= _TWO_UP_TO else 1
    cell = (across * tile + _GAP, 2 * tile + _CAPTION + _GAP + 8)
    width = max(_LEFT + columns * cell[0] - _GAP + _MARGIN, _NARROWEST)
    sheet = Image.new("RGB", (width, _HEAD + len(atlas.plates) * cell[1] + _FOOT), "white")
    for row, plate in enumerate(atlas.plates):
        top = _HEAD + row * cell[1]
        _name(sheet, plate, top + _CAPTION)
        for column, card in enumerate(plate.cards):
            _cell(sheet, plate, card, (_LEFT + column * cell[0], top), tile, across)
    of = "all of the class" if atlas.coverage is not None else "its training patches"
    _legend(sheet, "probability" if atlas.dense else "cosine", of)
    return sheet


def _name(sheet: Image.Image, plate: Plate, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((_MARGIN, top, _MARGIN + 4, top + 66), plate.colour)
    figures = plate.figures
    lines = [f"{len(plate.cards)} prototypes" if len(plate.cards) != 1 else "1 prototype"]
    if figures is not None and figures["effective_prototypes"] is not None:
        lines.append(f"{figures['effective_prototypes']:.1f} effective")
    if figures is not None and figures["claimed"] is not None:
        lines.append(f"{100 * figures['claimed']:.0f} % claimed")
    draw.text((_MARGIN + 12, top - 1), _fitted(draw, plate.name, _font(16), _LEFT - _MARGIN - 20), _INK, _font(16))
    for place, line in enumerate(lines):
        draw.text((_MARGIN + 12, top + 22 + 16 * place), line, _SOFT, _font(12))


def _cell(sheet: Image.Image, plate: Plate, card: Card, place: tuple[int, int], tile: int, across: int) -> None:
    draw, (left, top), width = ImageDraw.Draw(sheet), place, across * tile
    share = card.trained if card.share is None else card.share
    word = "" if share is None else f"{'dead, ' if card.dead else ''}{_short(share)}"
    word = "never wins" if card.share == 0 else word
    room = width - 6 - round(draw.textlength(word, _font(12)))
    title = card.title.removeprefix(f"{plate.name} ")
    draw.text((left, top + 2), _fitted(draw, title, _font(14), room), _INK, _font(14))
    draw.text((left + width, top + 3), word, _WARN if card.dead else _SOFT, _font(12), anchor="ra")
    draw.rectangle((left, top + _CAPTION, left + width - 1, top + _CAPTION + 2 * tile - 1), _EMPTY, _RULE)
    for column, patch in enumerate(card.patches[:across]):
        for row, pixels in enumerate((patch.framed(), heat_of(patch, plate))):
            corner = (left + column * tile, top + _CAPTION + row * tile)
            sheet.paste(_square(Image.fromarray(pixels), tile), corner)
            draw.rectangle((*corner, corner[0] + tile - 1, corner[1] + tile - 1), outline=_RULE)


def _legend(sheet: Image.Image, value: str, of: str) -> None:
    draw, y = ImageDraw.Draw(sheet), sheet.height - _FOOT // 2
    ramp = Image.fromarray(np.repeat(heat_palette()[:: 256 // _STEPS].repeat(4, 0)[None], 10, 0))
    sheet.paste(ramp, (_LEFT, y - 5))
    told = f"{value}, lowest to highest of the class; outlined: what it wins; %: of {of}"
    draw.text((_LEFT + ramp.width + 8, y), told, _SOFT, _font(12), anchor="lm")


def _square(picture: Image.Image, tile: int) -> Image.Image:
    """The picture's middle square, at a tile's size."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    return cut.resize((tile, tile), Image.Resampling.LANCZOS)


def _short(share: float) -> str:
    return per_cent(share, 0 if share >= 0.01 else 2)


def _fitted(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int
) -> str:
    """The text, cut where it would be wider than `room`."""
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _png(picture: Image.Image, exact: Sequence[Colour]) -> bytes:
    """Few colours, without dithering: a third of the size, and hard to tell from all; `exact` ones are kept."""
    free = 256 - len(exact)
    photos = picture.quantize(free, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
    assert photos is not None
    colours = [*np.ravel(exact).tolist(), *photos[: 3 * free]]
    table = Image.new("P", (1, 1))
    table.putpalette(colours)
    indices = np.array(picture.quantize(palette=table, dither=Image.Dither.NONE))
    pixels = np.asarray(picture).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    for index, (red, green, blue) in enumerate(exact):  # Pillow takes the nearest of a coarse grid
        indices[pixels == (red << 16 | green << 8 | blue)] = index
    result = Image.fromarray(indices)
    result.putpalette(colours)
    buffer = io.BytesIO()
    told = PngInfo()
    told.add_text("Software", WRITER)
    result.save(buffer, format="PNG", optimize=True, pnginfo=told)
    return buffer.getvalue()

"""An atlas of prototypes on paper: of each class its prototypes, with the tissue that they stand for."""

import numpy as np
from jaxtyping import UInt8

from lpdseg.insight.atlas import Atlas, Card, Plate
from lpdseg.insight.atlas_page import heat_of, per_cent
from lpdseg.insight.paper.sheet import SMALL, SOFT, Sheet, rgb
from lpdseg.insight.pictures import heat_palette

_LEFT, _CELL_GAP, _CAPTION, _ROW_GAP, _FOOT, _TOP = 7.0, 2.0, 7.2, 2.4, 5.0, 0.5
_SMALLEST, _LARGEST = 8.0, 20.0
"""Side of a picture in mm: below the first nothing is seen, so that fewer are shown."""


def prototypes_figure(atlas: Atlas, width: float, patches: int = 3) -> Sheet:
    """A row per class, a column per prototype: up to `patches` regions, and the same under its map below."""
    plates = [plate for plate in atlas.plates if plate.cards]
    columns = max((len(plate.cards) for plate in plates), default=1)
    cell = (width - _LEFT - (columns - 1) * _CELL_GAP - 0.5) / columns
    across = max(1, min(patches, int(cell / _SMALLEST)))
    side = min(_LARGEST, cell / across)
    cell = across * side
    high = _CAPTION + 2 * side + _ROW_GAP
    sheet = Sheet(width, _TOP + len(plates) * high + _FOOT)
    for row, plate in enumerate(plates):
        top = _TOP + row * high
        _name(sheet, plate, top + _CAPTION, 2 * side)
        for column, card in enumerate(plate.cards):
            _cell(sheet, plate, card, _LEFT + column * (cell + _CELL_GAP), top, side, across)
    _ramp(sheet, "probability" if atlas.dense else "cosine", _TOP + len(plates) * high + 1.8)
    return sheet


def _name(sheet: Sheet, plate: Plate, top: float, high: float) -> None:
    from matplotlib.patches import Rectangle

    corner = (4.6 / sheet.width, 1 - (top + high) / sheet.height)
    size = (0.9 / sheet.width, high / sheet.height)
    bar = Rectangle(
        corner, *size, transform=sheet.figure.transFigure, facecolor=rgb(plate.colour), edgecolor="none"
    )
    sheet.figure.add_artist(bar)
    sheet.text(2.2, top + high / 2, plate.name, room=high, ha="center", rotation=90, fontweight="bold")


def _cell(sheet: Sheet, plate: Plate, card: Card, left: float, top: float, side: float, across: int) -> None:
    share = card.trained if card.share is None else card.share
    of = "of its training patches" if card.share is None else "of its class"
    told = "" if share is None else f"{per_cent(share, 0 if share >= 0.01 else 1)} {of}"
    room = across * side
    sheet.text(left, top + 2.0, card.title.removeprefix(f"{plate.name} "), room=room)
    sheet.text(left, top + 5.0, told, room=room, color=SOFT, fontsize=SMALL)
    if not card.patches:
        sheet.text(left, top + _CAPTION + 2, "nothing that it wins", room=room, color=SOFT, fontsize=SMALL)
    for place, patch in enumerate(card.patches[:across]):
        for row, pixels in enumerate((patch.framed(), heat_of(patch, plate))):
            sheet.picture(_square(pixels), left + place * side, top + _CAPTION + row * side, side, side)


def _ramp(sheet: Sheet, value: str, y: float) -> None:
    axes = sheet.picture(heat_palette()[None], _LEFT, y - 1.0, 18.0, 2.0)
    axes.set_zorder(1)
    told = f"{value}, lowest to highest of the class; outlined: what the prototype wins"
    sheet.text(_LEFT + 19.5, y, told, room=sheet.width - _LEFT - 20, color=SOFT, fontsize=SMALL)


def _square(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """The picture's middle square."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]

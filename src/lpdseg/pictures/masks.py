"""Masks in the colours of their classes: palette PNGs, and overlays on the image that they belong to.

H x W pixels. Masks on disk have the data set's values; those inside have internal indices: class c is c, background
C, left-out pixels `IGNORE`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from lpdseg.files import replacing
from lpdseg.pictures.legend import SMALL, legend
from lpdseg.pictures.scale_bar import draw_scale_bar
from lpdseg.tissue import IGNORE, TissueClasses

LEFT_OUT = (128, 128, 128)
"""RGB of pixels that no figure counts."""

_SMALLEST_SIDE = 320
"""Overlays of smaller images are enlarged by a whole factor, so that outlines and legend can be read."""


def class_palette(classes: TissueClasses) -> UInt8[np.ndarray, "256 3"]:
    """RGB by internal index; left-out pixels are grey, other values black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.colours
    if classes.background is not None:
        palette[len(classes)] = classes.background_colour
    palette[IGNORE] = LEFT_OUT
    return palette


def colour_mask(mask: UInt8[np.ndarray, "H W"], classes: TissueClasses) -> UInt8[np.ndarray, "H W 3"]:
    """A mask of internal indices in the colours of its classes."""
    coloured: UInt8[np.ndarray, "H W 3"] = class_palette(classes)[mask]
    return coloured


def tint(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"],
    classes: TissueClasses,
    opacity: float = 0.4,
) -> UInt8[np.ndarray, "H W 3"]:
    """The image under its mask of internal indices; background and left-out pixels stay as they are."""
    tinted = (1 - opacity) * image + opacity * colour_mask(mask, classes)
    return np.where((mask < len(classes))[..., None], tinted.round(), image).astype(np.uint8)


def outlines(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The pixels that touch another value on one of their four sides."""
    edge = np.zeros(mask.shape, bool)
    below, beside = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= below
    edge[:-1] |= below
    edge[:, 1:] |= beside
    edge[:, :-1] |= beside
    return edge


def area_shares(mask: UInt8[np.ndarray, "H W"], classes: TissueClasses) -> dict[str, float]:
    """The share of the image's pixels that each class has, background included, in 0..1; values as on disk."""
    counts = np.bincount(classes.to_internal()[mask].ravel(), minlength=256)
    return {name: float(counts[c] / mask.size) for c, name in enumerate(classes.channel_names)}


def write_mask(path: Path, mask: UInt8[np.ndarray, "H W"], classes: TissueClasses) -> None:
    """Writes an 8-bit palette PNG whose pixel values are the classes' values on disk.

    **Raises:** `OutputError` where the file cannot be written.
    """
    picture = Image.fromarray(mask)
    picture.putpalette(classes.palette().tobytes())  # turns grey values into palette indices
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def overlay_picture(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"],
    classes: TissueClasses,
    opacity: float = 0.3,
    mpp: float | None = None,
) -> Image.Image:
    """The image under its mask, tinted and outlined, with a legend of area shares below: an RGB picture.

    Background keeps the colours of the image.

    **Arguments:**

    - `mask`: values as on disk.
    - `opacity`: of the tint, in 0..1.
    - `mpp`: microns per pixel of the image; where it is known there is a scale bar.
    """
    factor = -(-_SMALLEST_SIDE // max(image.shape[:2])) if max(image.shape[:2]) < _SMALLEST_SIDE else 1
    height, width = image.shape[0] * factor, image.shape[1] * factor
    large = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    index = classes.to_internal()[mask.repeat(factor, 0).repeat(factor, 1)]
    tinted = tint(large, index, classes, opacity)
    edge = outlines(index)
    tinted[edge] = class_palette(classes)[index[edge]]
    colours = (*classes.colours, classes.background_colour)
    shares = zip(area_shares(mask, classes).items(), colours, strict=False)
    strip = legend([(f"{name} {share:.0%}", colour) for (name, share), colour in shares], width)
    sheet = Image.new("RGB", (max(width, strip.width), height + strip.height), "white")
    under = Image.fromarray(tinted)
    if mpp is not None:
        draw_scale_bar(under, mpp / factor, SMALL)
    sheet.paste(under)
    sheet.paste(strip, (0, height))
    return sheet

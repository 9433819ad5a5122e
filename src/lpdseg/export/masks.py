"""Segmentations as files that other programs open: palette masks, probabilities, overlays.

H x W pixels; n channels, background last. Masks have values as on disk.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from lpdseg.export.legend import legend
from lpdseg.files import replacing
from lpdseg.insight.pictures import class_palette, overlay
from lpdseg.segmenting.segmenter import Segmentation
from lpdseg.tissue import TissueClasses

_SMALLEST_SIDE = 320
"""Overlays of smaller images are enlarged by a whole factor, so that outlines and legend can be read."""


def write_mask(path: Path, mask: UInt8[np.ndarray, "H W"], classes: TissueClasses) -> None:
    """Writes an 8-bit palette PNG whose pixel values are the classes' values on disk.

    **Raises:** `OutputError` where the file cannot be written.
    """
    picture = Image.fromarray(mask)
    picture.putpalette(classes.palette().tobytes())  # turns grey values into palette indices
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def write_probabilities(path: Path, segmentation: Segmentation, classes: TissueClasses) -> None:
    """Writes a compressed npz: `probabilities` (float16, n x H x W), `scores` (float16, C x H x W) and `classes`,
    the names of the n channels. `scores` are per class in 0..1, before gate and refinement.

    **Raises:** `OutputError` where the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=segmentation.probabilities.astype(np.float16),
            scores=segmentation.scores.astype(np.float16),
            classes=np.array(classes.channel_names),
        )


def write_overlay(
    path: Path, image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], classes: TissueClasses
) -> None:
    """Writes the image under its mask, tinted and outlined, with a legend of area shares below.

    **Raises:** `OutputError` where the file cannot be written.
    """
    picture = overlay_picture(image, mask, classes)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def overlay_picture(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], classes: TissueClasses
) -> Image.Image:
    """What `write_overlay` writes: an RGB picture. Background keeps the colours of the image."""
    factor = -(-_SMALLEST_SIDE // max(image.shape[:2])) if max(image.shape[:2]) < _SMALLEST_SIDE else 1
    height, width = image.shape[0] * factor, image.shape[1] * factor
    large = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    index = classes.to_internal()[mask.repeat(factor, 0).repeat(factor, 1)]
    tinted = overlay(large, index, classes, opacity=0.3)
    edge = outlines(index)
    tinted[edge] = class_palette(classes)[index[edge]]
    colours = (*classes.colours, classes.background_colour)
    shares = zip(area_shares(mask, classes).items(), colours, strict=False)
    strip = legend([(f"{name} {share:.0%}", colour) for (name, share), colour in shares], width)
    sheet = Image.new("RGB", (max(width, strip.width), height + strip.height), "white")
    sheet.paste(Image.fromarray(tinted))
    sheet.paste(strip, (0, height))
    return sheet


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
    """The share of the image's pixels that each class has, background included, in 0..1."""
    counts = np.bincount(classes.to_internal()[mask].ravel(), minlength=256)
    return {name: float(counts[c] / mask.size) for c, name in enumerate(classes.channel_names)}

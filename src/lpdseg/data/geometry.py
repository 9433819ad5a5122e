"""Patches of several sizes brought to one: aspect ratios are kept, and nothing of a patch is cut away.

What is cut off might be the very class that an image-level label names, so a patch is scaled until it fits as a
whole, and its own mirror image fills the rest: that shows no class which the label lacks, and no edge that tissue
never has.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.tissue import IGNORE

Size = tuple[int, int]
"""Height and width in pixels."""

_NEARLY_SQUARE = 1.2


def common_size(sizes: Sequence[Size]) -> Size | None:
    """The size that patches are brought to; None where all have one size.

    The commonest, where it is that of half of the patches or more; else a square of the commonest shorter side, or
    where patches are oblong the median height and width.
    """
    counts = Counter(sizes)
    if len(counts) == 1:
        return None
    # Of equally common ones the larger, so that the order of files does not matter.
    commonest, count = max(counts.items(), key=lambda item: (item[1], item[0]))
    if 2 * count >= len(sizes):
        return commonest
    height, width = (max(1, round(float(side))) for side in np.median(np.array(sizes), axis=0))
    if max(height, width) <= _NEARLY_SQUARE * min(height, width):
        sides = Counter(min(size) for size in sizes)
        side = max(sides.items(), key=lambda item: (item[1], item[0]))[0]
        return side, side
    return height, width


def fit_image(image: UInt8[np.ndarray, "h w 3"], size: Size, turn: bool) -> UInt8[np.ndarray, "H W 3"]:
    """The whole image within `size`, and its mirror image where it is narrower.

    `turn` allows to turn it by 90°, which is done where one is upright and the other lies.
    """
    if image.shape[:2] == size:
        return image
    scaled, room = _scaled(image, size, turn, Image.Resampling.BILINEAR)
    return np.pad(scaled, [*room, (0, 0)], mode="symmetric")


def fit_mask(mask: UInt8[np.ndarray, "h w"], size: Size, turn: bool) -> UInt8[np.ndarray, "H W"]:
    """A mask as `fit_image` would its image; what the mirror image fills is left out."""
    if mask.shape[:2] == size:
        return mask
    scaled, room = _scaled(mask, size, turn, Image.Resampling.NEAREST)
    return np.pad(scaled, room, constant_values=IGNORE)


def _scaled(
    values: np.ndarray, size: Size, turn: bool, how: Image.Resampling
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Scaled until it just fits, and the pixels that are missing above and below, left and right."""
    height, width = values.shape[:2]
    if turn and (height - width) * (size[0] - size[1]) < 0:
        values, height, width = np.rot90(values), width, height
    scale = min(size[0] / height, size[1] / width)
    inner = [min(whole, max(1, round(side * scale))) for side, whole in zip((height, width), size, strict=True)]
    if [height, width] != inner:
        values = np.asarray(Image.fromarray(np.ascontiguousarray(values)).resize((inner[1], inner[0]), how))
    missing = [whole - side for side, whole in zip(inner, size, strict=True)]
    return values, [(gap // 2, gap - gap // 2) for gap in missing]

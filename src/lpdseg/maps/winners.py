"""Which prototype a pixel belongs to: the likeliest of those that belong to the pixel's class (method §4).

B images, C classes, P prototypes with h x w probabilities; the image has H x W pixels.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpdseg.maps.constants import constant
from lpdseg.maps.fuse import fuse_scales
from lpdseg.maps.labelling import likeliest

NO_PROTOTYPE = 65535
"""Where a pixel has none: background, and classes without any."""


def numbered(parts: Sequence[int]) -> tuple[int, ...]:
    """The number that people know each part by: they count from 1 within its class."""
    seen: Counter[int] = Counter()
    numbers = []
    for c in parts:
        seen[c] += 1
        numbers.append(seen[c])
    return tuple(numbers)


def winner_of_class(
    values: Float[Tensor, "B P h w"],
    winning: Sequence[int],
    c: int,
    size: tuple[int, int],
    padded: tuple[int, int],
) -> Int[Tensor, "B H W"]:
    """The index in P of the likeliest prototype of class `c`, the first of equals.

    Values are upsampled to `padded` as class scores are, see `fuse_scales`, and cut to `size`. Both are linear, as
    is the mean over views: the prototypes of a class add up to its score at every pixel.

    **Arguments:**

    - `winning`: of each prototype the class whose pixels it may win; −1 for none.
    """
    own = [index for index, of in enumerate(winning) if of == c]
    if not own:
        return torch.full((len(values), *size), NO_PROTOTYPE, device=values.device)
    indices = constant(own, values.device)
    height, width = size
    scores = fuse_scales({0: values[:, indices]}, {0: 1.0}, padded)[..., :height, :width]
    return indices[likeliest(scores)]


def winners(
    values: Float[Tensor, "B P h w"],
    winning: Sequence[int],
    mask: Int[Tensor, "B H W"],
    padded: tuple[int, int],
) -> Int[Tensor, "B H W"]:
    """Of each pixel the winner among the prototypes of its class; `NO_PROTOTYPE` where the class has none."""
    size = (mask.shape[-2], mask.shape[-1])
    found = torch.full_like(mask, NO_PROTOTYPE)
    for c in sorted({of for of in winning if of >= 0}):
        here = mask == c
        if here.any():
            found = torch.where(here, winner_of_class(values, winning, c, size, padded), found)
    return found

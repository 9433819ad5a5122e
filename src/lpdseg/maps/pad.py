"""Images of any size for encoders with strides.

B images, H x W pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

STRIDE = 32
"""The least side of an image, which is the coarsest stride of encoders whose scales halve."""


def as_pixels(images: Tensor) -> Float[Tensor, "B _n h w"]:
    """uint8 RGB → [0, 1]; images below the least side are mirrored up to it.

    Larger ones stay as they are: a mirrored edge would be pooled into the image-level logits too.
    """
    pixels = images.float() / 255
    return pad_to_stride(pixels) if min(pixels.shape[-2:]) < STRIDE else pixels


def pad_to_stride(pixels: Float[Tensor, "B _n H W"], stride: int = STRIDE) -> Float[Tensor, "B _n h w"]:
    """Mirrors the right and lower edges until both sides are multiples of the stride."""
    for axis in (-1, -2):
        missing = -pixels.shape[axis] % stride
        while missing > 0:  # a reflection cannot be longer than what it mirrors
            part = min(missing, pixels.shape[axis])
            edge = pixels.narrow(axis, pixels.shape[axis] - part, part).flip(axis)
            pixels = torch.cat([pixels, edge], axis)
            missing -= part
    return pixels

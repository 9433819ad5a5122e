"""Views of an image that are predicted together and averaged (method §4).

B images, H x W pixels; V views.
"""

from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lpdseg.choices import View

BRIGHTNESS: dict[View, float] = {
    view: 0.9 if view.endswith("dark") else 1.1 if view.endswith("bright") else 1.0 for view in get_args(View)
}
"""What RGB is multiplied with."""


def make_views(images: Float[Tensor, "B 3 H W"], views: Sequence[View]) -> Float[Tensor, "VB 3 H W"]:
    """All views of all images as one batch, view by view. RGB stays in [0, 1]."""
    return torch.cat([_view(images, view) for view in views])


def mean_of_views(maps: Float[Tensor, "VB C h w"], views: Sequence[View]) -> Float[Tensor, "B C h w"]:
    """Maps of `make_views` → un-flipped and averaged over the views."""
    parts = maps.chunk(len(views))
    undone = [part.flip(-1) if view.startswith("flip") else part for part, view in zip(parts, views, strict=True)]
    return torch.stack(undone).mean(0)


def _view(images: Tensor, view: View) -> Tensor:
    if BRIGHTNESS[view] != 1:
        images = (images * BRIGHTNESS[view]).clamp(max=1)
    return images.flip(-1) if view.startswith("flip") else images

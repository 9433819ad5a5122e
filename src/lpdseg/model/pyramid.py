"""Scales of tokens that all have one size: a simple feature pyramid, with detail from a stem on the image.

After ViTDet (Li et al. 2022, arXiv 2203.16527), whose finer scales come from tokens alone, and ViT-Adapter (Chen
et al. 2023, arXiv 2205.08534), whose detail comes from convolutions on the image.

B images of H x W pixels; D the width of tokens, h x w tokens; scale l has C_l channels on H_l x W_l pixels.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.model.encoder_kinds import Adapter

FINE = (4, 8)
"""Strides of the scales that are finer than tokens; the others are on the grid of the tokens."""

_FINE_WIDTHS = (64, 128)
_FIRST = 32
_MOST = 512


class Pyramid(Adapter):
    """One map of tokens per scale → scales of stride 4 and 8, and then of the tokens' own.

    Every map is projected; the two finest are resized to the stem's maps, which are added.

    **Arguments:**

    - `tokens`: the width of each map of tokens; the earliest block's makes the finest scale.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__()
        fine = len(FINE)
        self.widths = (*_FINE_WIDTHS, *(min(width, _MOST) for width in tokens[fine:]))
        self.lateral = nn.ModuleList(nn.Conv2d(width, to, 1) for width, to in zip(tokens, self.widths, strict=True))
        self.stem = nn.ModuleList(
            [
                nn.Sequential(_halving(3, _FIRST), _norm(_FIRST), nn.GELU(), _halving(_FIRST, _FINE_WIDTHS[0])),
                nn.Sequential(_norm(_FINE_WIDTHS[0]), nn.GELU(), _halving(*_FINE_WIDTHS)),
            ]
        )
        kernels = [3] * fine + [1] * (len(tokens) - fine)
        self.mix = nn.ModuleList(
            nn.Sequential(_norm(width), nn.GELU(), nn.Conv2d(width, width, kernel, padding=kernel // 2))
            for width, kernel in zip(self.widths, kernels, strict=True)
        )

    def forward(self, features: list[Tensor], pixels: Tensor) -> list[Tensor]:
        """B x D x h x w of each block, and normalised B x 3 x H x W → B x C_l x H_l x W_l, finest first."""
        scales, detail = [], pixels
        for level, (tokens, lateral, mix) in enumerate(zip(features, self.lateral, self.mix, strict=True)):
            values = lateral(tokens)
            if level < len(self.stem):
                detail = self.stem[level](detail)
                size = (detail.shape[-2], detail.shape[-1])
                values = F.interpolate(values, size=size, mode="bilinear", align_corners=False) + detail
            scales.append(mix(values))
        return scales


def _halving(channels: int, to: int) -> nn.Conv2d:
    return nn.Conv2d(channels, to, 3, stride=2, padding=1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)

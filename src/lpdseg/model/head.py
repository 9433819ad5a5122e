"""A light segmentation head: features of all scales → dense class logits at the finest one.

B images, C classes; scale l has C_l channels on H_l x W_l pixels.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 8


class SegmentationHead(nn.Module):
    """Each scale is projected to one width, upsampled and added up; one 3 x 3 convolution mixes, one 1 x 1 decides.

    Group normalisation, so that nothing hangs on the batch: the copies that teach and those that predict see the
    same function.
    """

    def __init__(self, widths: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.mix = nn.Sequential(
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]]) -> Float[Tensor, "B C H_0 W_0"]:
        """Features of every scale, finest first → class logits."""
        total = self.lateral[0](features[0])
        for lateral, values in zip(self.lateral[1:], features[1:], strict=True):
            total = total + F.interpolate(
                lateral(values), size=total.shape[-2:], mode="bilinear", align_corners=False
            )
        logits: Tensor = self.mix(total)
        return logits

    def at_size(
        self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]], size: tuple[int, int]
    ) -> Float[Tensor, "B C H W"]:
        """The same, upsampled to (H, W) bilinearly, in float32."""
        return F.interpolate(self(features).float(), size=size, mode="bilinear", align_corners=False)

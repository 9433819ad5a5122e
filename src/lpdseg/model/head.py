"""A light segmentation head: features of all scales → dense logits at the finest one.

B images, C classes, K prototypes in all, class-major; scale l has C_l channels on H_l x W_l pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.choices import HeadMerge
from lpdseg.maps.merge import class_logits, class_slots, joint_logits
from lpdseg.model.prototypes import CosineMap

_GROUPS = 8


class SegmentationHead(nn.Module):
    """Each scale is projected to one width, upsampled and added up; one 3 x 3 convolution mixes, one 1 x 1 decides.

    Group normalisation, so that nothing hangs on the batch: the copies that teach and those that predict see the
    same function.

    **Arguments:**

    - `outputs`: channels; classes, where the last layer decides.
    """

    def __init__(self, widths: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.mix = nn.Sequential(
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]]) -> Float[Tensor, "B _n H_0 W_0"]:
        """Features of every scale, finest first → class logits."""
        total = self.lateral[0](features[0])
        for lateral, values in zip(self.lateral[1:], features[1:], strict=True):
            total = total + F.interpolate(
                lateral(values), size=total.shape[-2:], mode="bilinear", align_corners=False
            )
        logits: Tensor = self.mix(total)
        return logits


@dataclass
class DenseMap:
    """What a head gives for every pixel of the finest scale, in float32 where it has prototypes.

    - `logits`: of P parts: K prototypes, see `lpdseg.maps.merge.joint_logits`, or the C classes of a linear head.
    - `classes`: of the classes.
    - `cosine`: of the K prototypes, in [-1, 1]; None of a linear head.
    """

    logits: Float[Tensor, "B _P H_0 W_0"]
    classes: Float[Tensor, "B C H_0 W_0"]
    cosine: Float[Tensor, "B K H_0 W_0"] | None = None

    def at_size(self, size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
        """Class logits, upsampled to (H, W) bilinearly, in float32."""
        return F.interpolate(self.classes.float(), size=size, mode="bilinear", align_corners=False)


class LinearHead(SegmentationHead):
    """The last layer is linear: a class is one direction, and nothing in it stands for a morphology."""

    def dense(self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]]) -> DenseMap:
        """Features of every scale, finest first → the dense map."""
        logits = self(features)
        return DenseMap(logits, logits)


class PrototypeHead(SegmentationHead):
    """The last layer compares with prototypes: the class logit is a soft maximum of its prototypes' scaled cosines.

    **Attributes:**

    - `live`: K; prototypes that are retired take no part in the maximum. Each class keeps one at least.

    **Arguments:**

    - `counts`: prototypes per class.
    - `width`: channels of the head, in which pixels and prototypes are compared.
    - `temperature`: start of 1/s, s the learnable scale of the cosine.
    """

    live: Bool[Tensor, " K"]
    slots: Int[Tensor, "C k"]
    real: Bool[Tensor, "C k"]

    def __init__(
        self, widths: Sequence[int], counts: tuple[int, ...], width: int, temperature: float, merge: HeadMerge
    ) -> None:
        super().__init__(widths, width, width)
        self.merge: HeadMerge = merge
        self.cosine = CosineMap(temperature)
        slots, real = class_slots(counts)
        self.register_buffer("live", torch.ones(sum(counts), dtype=torch.bool))
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("real", real, persistent=False)

    def dense(
        self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]], prototypes: Float[Tensor, "K width"]
    ) -> DenseMap:
        """Features of every scale, finest first, and prototypes → the dense map."""
        cosine = self.cosine(self(features), prototypes)
        takes_part = self.real & self.live[self.slots]
        joint = joint_logits(cosine * self.cosine.scale, self.slots, takes_part, self.merge)
        return DenseMap(joint, class_logits(joint, self.slots, takes_part), cosine)

"""LPD's network: an encoder, a bank of prototypes, and their cosine maps at every scale (method §1).

B images, C classes, K prototypes in all; scale l has C_l channels on H_l x W_l pixels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lpdseg.choices import HeadMerge, HeadName, ImageMerge, Merge
from lpdseg.maps.merge import image_logits, merge_prototypes
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import DenseMap, LinearHead, PrototypeHead
from lpdseg.model.network import Network, Reading
from lpdseg.model.prototypes import CosineMap, Projection, PrototypeBank


@dataclass
class ScaleOutput:
    """What one scale gives.

    - `cosine`: cos(F_l, P_l), B x K x H_l x W_l, float32 in [-1, 1].
    - `maps`: S_l = s_l · cosine.
    - `projected`: P_l, K x C_l.
    """

    cosine: Float[Tensor, "B K H_l W_l"]
    maps: Float[Tensor, "B K H_l W_l"]
    projected: Float[Tensor, "K C_l"]


class LPD(Network):
    """Image → prototype maps per scale, and dense logits where it has a segmentation head.

    **Arguments:**

    - `counts`: prototypes per class; classes may differ.
    - `width`, `hidden`: D and the hidden width of the projections.
    - `temperature`: start of 1/s_l.
    - `head`: width of the segmentation head; 0 for none.
    - `head_kind`, `head_merge`: what decides in it, and how its prototypes become classes.
    """

    def __init__(
        self,
        encoder: Encoder,
        counts: tuple[int, ...],
        width: int,
        hidden: int,
        temperature: float,
        head: int = 0,
        head_kind: HeadName = "prototypes",
        head_merge: HeadMerge = "softmax",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bank = PrototypeBank(counts, width)
        self.projections = nn.ModuleList(Projection(width, hidden, channels) for channels in encoder.widths)
        self.cosines = nn.ModuleList(CosineMap(temperature) for _ in encoder.widths)
        self.head: LinearHead | PrototypeHead | None = None
        self.dense_projection: Projection | None = None
        self.free: PrototypeBank | None = None
        if head and head_kind == "linear":
            self.head = LinearHead(encoder.widths, len(counts), head)
        elif head:
            self.head = PrototypeHead(encoder.widths, counts, head, temperature, head_merge)
            if head_kind == "free":
                self.free = PrototypeBank(counts, head)
            else:
                self.dense_projection = Projection(width, hidden, head)

    @property
    def has_head(self) -> bool:
        """Whether there is a segmentation head."""
        return self.head is not None

    @property
    def has_maps(self) -> bool:
        """Always: maps are what prototypes give."""
        return True

    @property
    def parts(self) -> tuple[int, ...] | None:
        """See `Network.parts`."""
        if not isinstance(self.head, PrototypeHead):
            return None
        return tuple(c for c, count in enumerate(self.bank.counts) for _ in range(count))

    @property
    def retired(self) -> frozenset[int]:
        """See `Network.retired`."""
        return frozenset((~self.live).nonzero().flatten().tolist())

    @property
    def live(self) -> Bool[Tensor, " K"]:
        """Which prototypes are not retired: they alone are compared with each other by losses."""
        head = self.head
        return head.live if isinstance(head, PrototypeHead) else torch.ones_like(self.bank.class_of).bool()

    @property
    def compared(self) -> Bool[Tensor, "C k"]:
        """The same by class, see `PrototypeBank.real`."""
        return self.bank.real & self.live[self.bank.slots]

    def dense(self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]]) -> DenseMap:
        """Features of every scale, finest first → the dense map; there must be a head."""
        if isinstance(self.head, PrototypeHead):
            return self.head.dense(features, self.dense_prototypes())
        assert self.head is not None
        return self.head.dense(features)

    def dense_parameters(self) -> list[nn.Parameter]:
        """All that makes the dense map, but for encoder and bank."""
        own = [one for one in (self.head, self.dense_projection, self.free) if one is not None]
        return [parameter for module in own for parameter in module.parameters()]

    def dense_prototypes(self) -> Float[Tensor, "K _head"]:
        """A_dense(P): the prototypes in the space of the head that compares with them."""
        if self.free is not None:
            return self.free.weight
        assert self.dense_projection is not None
        projected: Tensor = self.dense_projection(self.bank.weight)
        return projected

    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        levels: Collection[int],
        merge: Merge,
        image_merge: ImageMerge,
        dense: bool = False,
    ) -> Reading:
        """See `Network.read`."""
        features = self.encoder(images)
        outputs = self.compare(features, levels)
        return Reading(
            {level: self.merge(output.maps, merge) for level, output in outputs.items()},
            {level: self.image_logits(output.maps, image_merge) for level, output in outputs.items()},
            self.dense(features).logits if dense and self.head is not None else None,
        )

    def forward(
        self, images: Float[Tensor, "B 3 H W"], scales: Collection[int] | None = None
    ) -> dict[int, ScaleOutput]:
        """RGB in [0, 1] → maps of the scales asked for (all of them when None), by index, finest 0."""
        return self.compare(self.encoder(images), scales)

    def compare(
        self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]], scales: Collection[int] | None = None
    ) -> dict[int, ScaleOutput]:
        """Features → maps; scales that are not asked for cost nothing."""
        wanted = range(self.scales) if scales is None else sorted(scales)
        return {level: self._compare_scale(features[level], level) for level in wanted}

    def _compare_scale(self, features: Tensor, level: int) -> ScaleOutput:
        projected = self.projections[level](self.bank.weight)
        cosine_map = self.cosines[level]
        cosine = cosine_map(features, projected)
        return ScaleOutput(cosine=cosine, maps=cosine * cosine_map.scale, projected=projected)

    def merge(self, values: Float[Tensor, "B K *pixels"], merge: Merge) -> Float[Tensor, "B C *pixels"]:
        """Prototype scores → class scores; see `lpdseg.maps.merge.merge_prototypes`."""
        return merge_prototypes(values, self.bank.slots, self.bank.real, merge)

    def image_logits(self, maps: Float[Tensor, "B K H W"], merge: ImageMerge) -> Float[Tensor, "B C"]:
        """Prototype maps → image-level class logits; see `lpdseg.maps.merge.image_logits`."""
        return image_logits(maps, self.bank.slots, self.bank.real, merge)

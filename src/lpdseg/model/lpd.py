"""LPD's network: an encoder, a bank of prototypes, and their cosine maps at every scale (method §1).

B images, C classes, K prototypes in all; scale l has C_l channels on H_l x W_l pixels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.choices import ImageMerge, Merge
from lpdseg.maps.merge import image_logits, merge_prototypes
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import SegmentationHead
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
    """

    def __init__(
        self,
        encoder: Encoder,
        counts: tuple[int, ...],
        width: int,
        hidden: int,
        temperature: float,
        head: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bank = PrototypeBank(counts, width)
        self.projections = nn.ModuleList(Projection(width, hidden, channels) for channels in encoder.widths)
        self.cosines = nn.ModuleList(CosineMap(temperature) for _ in encoder.widths)
        self.head = SegmentationHead(encoder.widths, len(counts), head) if head else None

    @property
    def has_head(self) -> bool:
        """Whether there is a segmentation head."""
        return self.head is not None

    @property
    def has_maps(self) -> bool:
        """Always: maps are what prototypes give."""
        return True

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
            self.head(features) if dense and self.head is not None else None,
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

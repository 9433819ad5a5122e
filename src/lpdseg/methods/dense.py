"""An encoder with a light decoder that labels every pixel: what methods train that have a mask to learn from.

B images, C classes, H x W pixels.
"""

from collections.abc import Collection

from jaxtyping import Float
from torch import Tensor

from lpdseg.choices import ImageMerge, Merge
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import SegmentationHead
from lpdseg.model.network import Network, Reading


class DenseNetwork(Network):
    """The segmentation head of LPD on an encoder of its own, and nothing else.

    **Arguments:**

    - `width`: channels of the head.
    """

    def __init__(self, encoder: Encoder, classes: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = SegmentationHead(encoder.widths, classes, width)

    @property
    def has_head(self) -> bool:
        """Always."""
        return True

    @property
    def has_maps(self) -> bool:
        """Never."""
        return False

    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        levels: Collection[int],
        merge: Merge,
        image_merge: ImageMerge,
        dense: bool = False,
    ) -> Reading:
        """See `Network.read`."""
        del levels, merge, image_merge, dense
        return Reading(dense=self.head(self.encoder(images)))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H W"]:
        """RGB in [0, 1] → class logits of every pixel, in float32."""
        return self.head.at_size(self.encoder(images), (images.shape[-2], images.shape[-1]))

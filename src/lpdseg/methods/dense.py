"""An encoder with a light decoder that labels every pixel: what methods train that have a mask to learn from.

B images, C classes, H x W pixels.
"""

from collections.abc import Collection, Mapping

from jaxtyping import Float
from torch import Tensor

from lpdseg.choices import ImageMerge, Merge
from lpdseg.maps.pad import as_pixels
from lpdseg.model.encoded import features_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import LinearHead
from lpdseg.model.network import Network, Reading


class DenseNetwork(Network):
    """The segmentation head of LPD on an encoder of its own, and nothing else.

    **Arguments:**

    - `width`: channels of the head.
    """

    def __init__(self, encoder: Encoder, classes: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = LinearHead(encoder.widths, classes, width)

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

    def label(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B C H W"]:
        """Class logits of every pixel of a batch's images, in float32; see `lpdseg.model.encoded`."""
        images = as_pixels(batch["image"])
        features = features_of(self.encoder, batch, "image")
        return self.head.dense(features).at_size((images.shape[-2], images.shape[-1]))

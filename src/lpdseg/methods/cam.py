"""Class activation maps: what weak supervision has without prototypes (Zhou et al., CVPR 2016).

B images, C classes; scale l has C_l channels on H_l x W_l pixels.
"""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.choices import ImageMerge, Merge
from lpdseg.losses.classification import Classification
from lpdseg.losses.objective import Objective, Seen
from lpdseg.maps.pad import as_pixels
from lpdseg.methods.task import Task, check_scales
from lpdseg.model.encoded import features_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.network import Network, Reading
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


class CamNetwork(Network):
    """One linear classifier of the pixels per scale; an image's logits are its means over the pixels.

    Pooling and a linear classifier commute, so this is the class activation map of the pooled classifier, and its
    mean is exactly the logit that is trained. For the same reason Grad-CAM (Selvaraju et al., ICCV 2017) of a
    scale's logit is this map up to the bias and a factor, and needs no setting of its own.

    **Arguments:**

    - `levels`: the scales that have a classifier.
    """

    def __init__(self, encoder: Encoder, classes: int, levels: Collection[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifiers = nn.ModuleDict(
            {str(level): nn.Conv2d(encoder.widths[level], classes, 1) for level in sorted(levels)}
        )

    @property
    def has_head(self) -> bool:
        """Never."""
        return False

    @property
    def has_maps(self) -> bool:
        """Always."""
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
        del merge, image_merge, dense
        return self.classify(self.encoder(images), levels)

    def classify(self, features: Sequence[Float[Tensor, "B _C_l _H_l _W_l"]], levels: Collection[int]) -> Reading:
        """Features of every scale, finest first → maps and logits of the scales asked for."""
        maps = {level: self.classifiers[str(level)](features[level]).float() for level in sorted(levels)}
        return Reading(maps, {level: values.mean((2, 3)) for level, values in maps.items()})


class CamTask(Task):
    """The classification loss of method §2 on the maps' means; other losses' settings are not used."""

    model: CamNetwork

    def __init__(self, model: CamNetwork, scale_weights: tuple[float, ...]) -> None:
        super().__init__(model)
        self.scales = {level: weight for level, weight in enumerate(scale_weights) if weight > 0}
        self.objectives = (Classification(self.scales),)

    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        """See `Task.look`."""
        images = as_pixels(batch["image"])
        logits = self.model.classify(features_of(self.model.encoder, batch, "image"), self.scales).logits
        return Seen(batch, images, batch["labels"], done, logits)


def network(encoder: Encoder, settings: Settings, classes: int) -> CamNetwork:
    """A classifier at every scale that is supervised or read by prediction.

    **Raises:** `SettingsError` for weights of another number of scales.
    """
    check_scales(settings.loss.scale_weights, len(encoder.widths))
    pairs = zip(settings.loss.scale_weights, settings.predict.fusion, strict=True)
    return CamNetwork(encoder, classes, [level for level, pair in enumerate(pairs) if max(pair) > 0])


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> CamTask:
    """The network, to be trained with `loss.scale_weights`.

    **Raises:** `SettingsError`.
    """
    return CamTask(network(encoder, settings, len(classes)), settings.loss.scale_weights)

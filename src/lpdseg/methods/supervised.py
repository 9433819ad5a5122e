"""Full supervision: the encoder and decoder that the others use, on true masks. The ceiling of weak supervision.

B images, C classes, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpdseg.losses.objective import Objective, Seen, Single
from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.losses.term import global_mean
from lpdseg.maps.pad import as_pixels
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.task import Task
from lpdseg.model.encoder import Encoder
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


class TrueMasks(Single):
    """Cross-entropy with the mask over the pixels that have a tissue class.

    Background is left to the rule that finds it in prediction, so that masks of every method have it alike.
    """

    titles: ClassVar[Mapping[str, str]] = {"cross_entropy": "true masks, cross-entropy"}

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`; `mask` of the batch is needed."""
        assert seen.dense is not None
        mask = seen.batch["mask"]
        shown = seen.dense[..., : mask.shape[-2], : mask.shape[-1]]  # small images are padded
        return global_mean(pseudo_mask_loss(shown, tissue_only(mask, shown.shape[1])))


class SupervisedTask(Task):
    """`TrueMasks` and nothing else."""

    model: DenseNetwork

    def __init__(self, model: DenseNetwork) -> None:
        super().__init__(model)
        self.objectives = (TrueMasks(),)

    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        """See `Task.look`."""
        images = as_pixels(batch["image"])
        return Seen(batch, images, batch["labels"], done, dense=self.model.label(batch))


def tissue_only(mask: UInt8[Tensor, "B H W"], classes: int) -> Int[Tensor, "B H W"]:
    """A mask in internal numbering → class indices; background and pixels to leave out are ignored."""
    return mask.long().masked_fill(mask >= classes, IGNORED)


def network(encoder: Encoder, settings: Settings, classes: int) -> DenseNetwork:
    """The encoder with a head of `model.head_width` channels."""
    return DenseNetwork(encoder, classes, settings.model.head_width)


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> SupervisedTask:
    """The network, to be trained on true masks."""
    return SupervisedTask(network(encoder, settings, len(classes)))

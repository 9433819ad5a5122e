"""Full supervision: the encoder and decoder that the others use, on true masks. The ceiling of weak supervision.

B images, C classes, H x W pixels.
"""

from jaxtyping import Int, UInt8
from torch import Tensor

from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.task import Task, as_pixels, global_mean
from lpdseg.model.encoders import Encoder
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


class SupervisedTask(Task):
    """Cross-entropy with the mask over the pixels that have a tissue class.

    Background is left to the rule that finds it in prediction, so that masks of every method have it alike.
    """

    model: DenseNetwork

    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """See `Task.forward`; `mask` is needed."""
        del done
        logits = self.model(as_pixels(batch["image"]))
        height, width = batch["mask"].shape[-2:]
        shown = logits[..., :height, :width]  # small images are padded
        loss = global_mean(pseudo_mask_loss(shown, tissue_only(batch["mask"], logits.shape[1])))
        return {"loss": loss, "cross_entropy": loss}


def tissue_only(mask: UInt8[Tensor, "B H W"], classes: int) -> Int[Tensor, "B H W"]:
    """A mask in internal numbering → class indices; background and pixels to leave out teach nothing."""
    return mask.long().masked_fill(mask >= classes, IGNORED)


def network(encoder: Encoder, settings: Settings, classes: int) -> DenseNetwork:
    """The encoder with a head of `model.head_width` channels."""
    return DenseNetwork(encoder, classes, settings.model.head_width)


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> SupervisedTask:
    """The network, to be trained on true masks."""
    return SupervisedTask(network(encoder, settings, len(classes)))

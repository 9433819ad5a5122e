"""Where model and losses meet: a batch in, the loss and its parts out. The loop knows nothing of the method.

B images, C classes, K prototypes in all.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.errors import SettingsError
from lpdseg.losses.active import active_prototypes, draw_pairs
from lpdseg.losses.classification import classification_loss
from lpdseg.losses.contrast import contrast_loss
from lpdseg.losses.diversity import diversity_loss
from lpdseg.losses.term import Term
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.maps.merge import ImageMerge
from lpdseg.maps.pad import STRIDE, pad_to_stride
from lpdseg.model.image_encoders import ImageEncoder, SelfEncoder
from lpdseg.model.lpd import LPD, ScaleOutput
from lpdseg.model.prototypes import Projection
from lpdseg.settings import LossSettings


class LpdTask(nn.Module):
    """The objective of method §2.

    **Arguments:**

    - `merge`: prototypes → class in the classification loss.
    - `image_encoder`: of the contrast, or None for none.
    - `background_power`: of the pseudo mask; None where every pixel belongs to a class.
    - `hidden`: width inside the projection to the image encoder's space.

    **Raises:** `SettingsError` for loss weights that do not fit the encoder, or a contrast of a single class.
    """

    def __init__(
        self,
        model: LPD,
        settings: LossSettings,
        merge: ImageMerge,
        image_encoder: ImageEncoder | None,
        background_power: float | None,
        hidden: int,
    ) -> None:
        super().__init__()
        if len(settings.scale_weights) != model.scales:
            raise SettingsError(
                f"loss.scale_weights has {len(settings.scale_weights)} numbers, the encoder {model.scales} scales"
            )
        if settings.contrast.weight > 0 and image_encoder is not None and len(model.bank.counts) < 2:
            raise SettingsError("the contrast needs at least two classes; set loss.contrast.weight=0")
        self.model, self.settings, self.merge, self.power = model, settings, merge, background_power
        self.image_encoder = image_encoder if settings.contrast.weight > 0 else None
        self.contrast_head: Projection | None = None
        if self.image_encoder is not None and not isinstance(self.image_encoder, SelfEncoder):
            self.contrast_head = Projection(model.bank.weight.shape[1], hidden, self.image_encoder.width)
        self.last = model.scales - 1
        self.supervised = [level for level, weight in enumerate(settings.scale_weights) if weight > 0]

    def forward(self, batch: dict[str, Tensor], warm: bool) -> dict[str, Tensor]:
        """`image` (uint8) and `labels` → `loss`, and each part that was computed, unweighted.

        `warm` is true once the loss warm-up is over; before, the classification loss stands alone.
        """
        images = batch["image"].float() / 255
        if min(images.shape[-2:]) < STRIDE:  # larger ones stay as they are: a mirrored edge would be pooled too
            images = pad_to_stride(images)
        labels = batch["labels"]
        beyond = warm and (self.image_encoder is not None or self.settings.diversity.weight > 0)
        outputs = self.model(images, {*self.supervised, self.last} if beyond else self.supervised)
        parts = {"classification": global_mean(self._classification(outputs, labels))}
        loss = parts["classification"]
        if beyond:
            loss = loss + self._contrast(images, outputs[self.last], labels, parts)
            loss = loss + self._diversity(outputs[self.last], labels, parts)
        return {"loss": loss, **parts}

    def _classification(self, outputs: dict[int, ScaleOutput], labels: Float[Tensor, "B C"]) -> Term:
        logits = [self.model.image_logits(outputs[level].maps, self.merge) for level in self.supervised]
        weights = [self.settings.scale_weights[level] for level in self.supervised]
        return classification_loss(logits, labels, weights)

    def _contrast(
        self, images: Float[Tensor, "B 3 H W"], output: ScaleOutput, labels: Tensor, parts: dict[str, Tensor]
    ) -> Tensor | float:
        if self.image_encoder is None:
            return 0.0
        settings, bank = self.settings.contrast, self.model.bank
        logits = output.maps.mean((2, 3))
        active = active_prototypes(logits.detach(), labels, bank.class_of, bank.slots, bank.real)
        head = self.contrast_head
        terms = contrast_loss(
            images,
            output.maps,
            draw_pairs(active, settings.pairs_per_image),
            output.projected if head is None else head(bank.weight),
            bank.class_of,
            self.image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            negatives=settings.negatives,
            fill=settings.fill,
            size=settings.size,
        )
        parts["foreground"] = global_mean(terms.foreground)
        parts["background"] = global_mean(terms.background)
        parts["map_mean"] = global_mean(terms.map_mean)
        bracket = parts["foreground"] + parts["background"] + settings.map_weight * parts["map_mean"]
        return settings.weight * bracket

    def _diversity(self, output: ScaleOutput, labels: Tensor, parts: dict[str, Tensor]) -> Tensor | float:
        settings, bank = self.settings.diversity, self.model.bank
        if settings.weight == 0:
            return 0.0
        mask = pseudo_mask(self.model.merge(output.maps.detach(), "softmax"), labels, self.power)
        term = diversity_loss(output.cosine, mask, labels, bank.slots, bank.real, settings.temperature)
        parts["diversity"] = global_mean(term)
        return settings.weight * parts["diversity"]

    def trained_state(self) -> dict[str, Tensor]:
        """Parameters and buffers to save: all but those of a frozen image encoder."""
        state: dict[str, Any] = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("image_encoder.")}


def global_mean(term: Term) -> Float[Tensor, ""]:
    """The mean over the batch of all processes, so scaled that averaging gradients over processes is exact."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return term.mean
    count = term.count.clone()
    torch.distributed.all_reduce(count)
    return term.total * torch.distributed.get_world_size() / count.clamp(min=1)

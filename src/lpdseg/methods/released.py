"""LPD with the losses of its published code (Le et al., arXiv 2512.05922), to see the effect of each repair.

The diversity, the negatives and the soft mask of the contrast are as released; see `lpdseg.losses.released`. What
surrounds them is ours: images are RGB, weights are real, and masks are gated by predicted labels. The merge in
training is that of the settings; as published it is `model.merge=mean`, as in the preset `paper`.
"""

import torch
from torch import Tensor

from lpdseg.errors import SettingsError
from lpdseg.losses.active import active_prototypes, draw_pairs
from lpdseg.losses.released import released_contrast, released_diversity
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.methods.lpd import prototype_network
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.methods.task import as_pixels, global_mean
from lpdseg.model.encoders import Encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.lpd import LPD, ScaleOutput
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


class ReleasedTask(LpdTask):
    """The objective of method §2 as released.

    Of the settings, `loss.contrast.negatives`, `loss.contrast.fill`, `loss.diversity` but for its weight,
    `loss.composite` and `loss.pseudo` are not used.
    """

    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """See `Task.forward`."""
        images, labels = as_pixels(batch["image"]), batch["labels"]
        contrast = self.image_encoder is not None
        diversity = self.settings.diversity.weight > 0
        beyond = done >= self.settings.warmup and (contrast or diversity)
        features = self.model.encoder(images)
        outputs = self.model.compare(features, {*self.supervised, self.last} if beyond else self.supervised)
        parts = {"classification": global_mean(self._classification(outputs, labels))}
        loss = parts["classification"]
        if beyond and contrast:
            loss = loss + self._released_contrast(images, outputs[self.last], labels, parts)
        if beyond and diversity:
            loss = loss + self._released_diversity(features[self.last], outputs[self.last], parts)
        return {"loss": loss, **parts}

    def _released_contrast(
        self, images: Tensor, output: ScaleOutput, labels: Tensor, parts: dict[str, Tensor]
    ) -> Tensor:
        settings, bank, head = self.settings.contrast, self.model.bank, self.contrast_head
        assert self.image_encoder is not None
        logits = output.maps.mean((2, 3)).detach()
        active = active_prototypes(logits, labels, bank.class_of, bank.slots, bank.real)
        terms = released_contrast(
            images,
            output.maps,
            draw_pairs(active, settings.pairs_per_image),
            output.projected if head is None else head(bank.weight),
            bank.class_of,
            self.image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            size=settings.size,
            chunk=settings.chunk,
        )
        parts["foreground"] = global_mean(terms.foreground)
        parts["background"] = global_mean(terms.background)
        parts["map_mean"] = global_mean(terms.map_mean)
        bracket = global_mean(terms.both) + settings.map_weight * parts["map_mean"]
        return settings.weight * bracket

    def _released_diversity(self, features: Tensor, output: ScaleOutput, parts: dict[str, Tensor]) -> Tensor:
        bank = self.model.bank
        every_class = torch.ones(len(features), len(bank.counts), device=features.device)
        mask = pseudo_mask(self.model.merge(output.maps.detach(), "softmax"), every_class, self.power)
        term = released_diversity(features, bank.weight, mask, bank.slots, bank.real, bank.class_of)
        parts["diversity"] = global_mean(term)
        return self.settings.diversity.weight * parts["diversity"]


def network(encoder: Encoder, settings: Settings, classes: int) -> LPD:
    """LPD without a segmentation head.

    **Raises:** `SettingsError` where prototypes cannot be compared with features as they are.
    """
    width = encoder.widths[-1]
    if settings.loss.diversity.weight > 0 and settings.model.prototype_dim != width:
        raise SettingsError(
            f"the released diversity loss compares prototypes with features of {width} channels as they are; set "
            f"model.prototype_dim={width}"
        )
    return prototype_network(encoder, settings, classes, 0)


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> ReleasedTask:
    """LPD and the objective as released.

    **Raises:** `SettingsError`, `WeightsError`.
    """
    contrast = settings.loss.contrast
    model = network(encoder, settings, len(classes))
    judge = build_image_encoder(contrast.encoder, encoder) if contrast.weight > 0 else None
    power = None if classes.background is None else settings.predict.background_power
    return ReleasedTask(model, settings.loss, settings.model.merge, judge, power, settings.model.hidden_dim)

"""Where model and losses meet: a batch in, the loss and its parts out. The loop knows nothing of the method.

B images, C classes, K prototypes in all.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lpdseg.choices import ImageMerge
from lpdseg.errors import SettingsError
from lpdseg.losses.active import active_prototypes, draw_pairs
from lpdseg.losses.classification import classification_loss
from lpdseg.losses.contrast import contrast_loss
from lpdseg.losses.diversity import diversity_loss
from lpdseg.losses.pseudo import IGNORED, candidate_loss, pseudo_mask_loss
from lpdseg.losses.term import Term
from lpdseg.maps.background import glass_share
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.methods.task import Task, as_pixels, global_mean
from lpdseg.methods.teacher import Teacher
from lpdseg.model.image_encoders import ImageEncoder, SelfEncoder
from lpdseg.model.lpd import LPD, ScaleOutput
from lpdseg.model.prototypes import Projection
from lpdseg.settings import LossSettings, PredictSettings


class LpdTask(Task):
    """The objective of method §2.

    **Attributes:**

    - `model`: the network, an `LPD`.

    **Arguments:**

    - `merge`: prototypes → class in the classification loss.
    - `image_encoder`: of the contrast, or None for none.
    - `background_power`: of the pseudo mask; None where every pixel belongs to a class.
    - `hidden`: width inside the projection to the image encoder's space.
    - `predict`: how class maps become pseudo masks, and whether background is glass; needed where there is a
      segmentation head.

    **Raises:** `SettingsError` for loss weights that do not fit the encoder, or a contrast of a single class.
    """

    model: LPD

    def __init__(
        self,
        model: LPD,
        settings: LossSettings,
        merge: ImageMerge,
        image_encoder: ImageEncoder | None,
        background_power: float | None,
        hidden: int,
        predict: PredictSettings | None = None,
    ) -> None:
        super().__init__(model)
        if len(settings.scale_weights) != model.scales:
            raise SettingsError(
                f"loss.scale_weights has {len(settings.scale_weights)} numbers, the encoder {model.scales} scales"
            )
        if settings.contrast.weight > 0 and image_encoder is not None and len(model.bank.counts) < 2:
            raise SettingsError("the contrast needs at least two classes; set loss.contrast.weight=0")
        width, channels = model.bank.weight.shape[1], model.encoder.widths[-1]
        if settings.diversity.weight > 0 and settings.diversity.space == "raw" and width != channels:
            raise SettingsError(
                f"loss.diversity.space = 'raw' compares prototypes with features of {channels} channels as they "
                f"are; set model.prototype_dim={channels}"
            )
        self.settings, self.merge, self.power = settings, merge, background_power
        self.image_encoder = image_encoder if settings.contrast.weight > 0 else None
        self.contrast_head: Projection | None = None
        if self.image_encoder is not None and not isinstance(self.image_encoder, SelfEncoder):
            self.contrast_head = Projection(width, hidden, self.image_encoder.width)
        self.last = model.scales - 1
        self.supervised = [level for level, weight in enumerate(settings.scale_weights) if weight > 0]
        self.teacher: Teacher | None = None
        if model.head is not None and predict is not None and settings.pseudo.weight > 0:
            self.teacher = Teacher(model, settings.pseudo, predict)
        self.glass = predict is not None and predict.background == "glass"

    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """See `Task.forward`. Contrast and diversity wait until the loss warm-up is over; composites do not."""
        images, labels = as_pixels(batch["image"]), batch["labels"]
        warm = done >= self.settings.warmup
        beyond = warm and (self.image_encoder is not None or self.settings.diversity.weight > 0)
        features = self.model.encoder(images)
        outputs = self.model.compare(features, {*self.supervised, self.last} if beyond else self.supervised)
        parts = {"classification": global_mean(self._classification(outputs, labels))}
        loss = parts["classification"]
        if beyond:
            loss = loss + self._contrast(images, outputs[self.last], labels, parts)
            loss = loss + self._diversity(features[self.last], outputs[self.last], labels, parts)
        if self.settings.composite.weight > 0:
            loss = loss + self._composite(batch["composite"], batch["composite_mask"], parts)
        if self.teacher is not None and done >= self.settings.pseudo.start:
            loss = loss + self._pseudo(images, features, labels, done, parts)
        return {"loss": loss, **parts}

    def after_step(self, step: int) -> None:
        """Lets the teacher follow."""
        if self.teacher is not None:
            self.teacher.follow(self.model, step)

    def _composite(
        self, composites: UInt8[Tensor, "N 3 H W"], mask: UInt8[Tensor, "N H W"], parts: dict[str, Tensor]
    ) -> Tensor:
        """Teaches the head with composites, whose masks are known; glass belongs to no class."""
        assert self.model.head is not None
        settings = self.settings.composite
        if len(composites) == 0:  # those of this batch are all in other processes
            nothing = torch.stack([one.sum() for one in self.model.head.parameters()]).sum() * 0.0
            parts["composite"] = global_mean(Term(nothing, torch.zeros_like(nothing)))
            return settings.weight * parts["composite"]
        images, target = as_pixels(composites), mask.long()
        height, width = target.shape[-2:]
        if self.glass:
            target = target.masked_fill(glass_share(images)[:, 0, :height, :width] > 0.5, IGNORED)
        dense = self.model.head.at_size(self.model.encoder(images), (images.shape[-2], images.shape[-1]))
        parts["composite"] = global_mean(pseudo_mask_loss(dense[..., :height, :width], target))  # no padded pixels
        return settings.weight * parts["composite"]

    def _pseudo(
        self, images: Tensor, features: list[Tensor], labels: Tensor, done: float, parts: dict[str, Tensor]
    ) -> Tensor:
        """Teaches the head with the teacher's masks; pixels it is unsure of may take the label's classes only."""
        assert self.model.head is not None and self.teacher is not None
        settings = self.settings.pseudo
        size = (images.shape[-2] // settings.stride, images.shape[-1] // settings.stride)
        mask = self.teacher.masks(images, labels, done, size)
        dense = self.model.head.at_size(features, size)
        parts["pseudo"] = global_mean(pseudo_mask_loss(dense, mask, settings.balance))
        loss = parts["pseudo"]
        if settings.candidates > 0:
            parts["candidates"] = global_mean(candidate_loss(dense, labels, mask == IGNORED))
            loss = loss + settings.candidates * parts["candidates"]
        return settings.weight * loss

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
            chunk=settings.chunk,
        )
        parts["foreground"] = global_mean(terms.foreground)
        parts["background"] = global_mean(terms.background)
        parts["map_mean"] = global_mean(terms.map_mean)
        bracket = global_mean(terms.both) + settings.map_weight * parts["map_mean"]
        return settings.weight * bracket

    def _diversity(
        self, features: Tensor, output: ScaleOutput, labels: Tensor, parts: dict[str, Tensor]
    ) -> Tensor | float:
        settings, bank = self.settings.diversity, self.model.bank
        if settings.weight == 0:
            return 0.0
        mask = None
        if settings.pixels != "image":
            mask = pseudo_mask(self.model.merge(output.maps.detach(), "softmax"), labels, self.power)
        cosine = output.cosine
        if settings.space == "raw":
            cosine = self.model.cosines[self.last](features, bank.weight)
        over_batch = settings.pixels == "batch"
        term = diversity_loss(cosine, mask, labels, bank.slots, bank.real, settings.temperature, over_batch)
        parts["diversity"] = global_mean(term)
        return settings.weight * parts["diversity"]

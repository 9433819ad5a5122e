"""PBIP, LPD's predecessor: prototypes are clustered from an image bank, and a second stage learns from the masks.

*Prototype-Based Image Prompting* (Tang et al., CVPR 2025, arXiv 2503.12068), written from the paper. Stage 1 is a
classifier like LPD's whose prototypes are fixed; stage 2 is a segmentation network that starts from the first
weights again and learns from stage 1's pseudo masks. Both run in one training, half of the steps each.

B images, C classes, K prototypes in all; H x W pixels.
"""

from copy import deepcopy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import SettingsError
from lpdseg.losses.active import draw_pairs
from lpdseg.losses.classification import classification_loss
from lpdseg.losses.contrast import contrast_loss
from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.maps.background import glass_share
from lpdseg.maps.fuse import activation, fuse_scales
from lpdseg.maps.labelling import likeliest
from lpdseg.methods.bank import choose_patches, cluster_bank
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.lpd import prototype_counts
from lpdseg.methods.task import Task, as_pixels, check_scales, global_mean
from lpdseg.model.encoders import Encoder
from lpdseg.model.image_encoders import ImageEncoder, SelfEncoder, build_image_encoder
from lpdseg.model.lpd import LPD, ScaleOutput
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses

STAGE = 0.5
"""The share of the steps after which the second stage begins."""


class PbipTask(Task):
    """Both stages; `loss.diversity`, `loss.composite` and `loss.pseudo` are not used.

    **Attributes:**

    - `classifier`: of stage 1, with fixed prototypes; frozen in stage 2.
    - `model`: of stage 2, the network that predicts.

    **Arguments:**

    - `judge`: of the contrast and of the image bank; None takes the encoder's first weights for the bank, and no
      contrast.

    **Raises:** `SettingsError` for settings that do not fit the encoder, or a contrast of a single class.
    """

    model: DenseNetwork
    stages = (0.0, STAGE)

    def __init__(
        self, model: DenseNetwork, classifier: LPD, settings: Settings, judge: ImageEncoder | None
    ) -> None:
        super().__init__(model)
        check_scales(settings.loss.scale_weights, classifier.scales)
        if judge is not None and settings.loss.contrast.weight > 0 and len(classifier.bank.counts) < 2:
            raise SettingsError("the contrast needs at least two classes; set loss.contrast.weight=0")
        self.classifier, self.settings, self.image_encoder = classifier, settings, judge
        self.classifier.bank.requires_grad_(False)
        self.last = classifier.scales - 1
        self.weights = {level: weight for level, weight in enumerate(settings.loss.scale_weights) if weight > 0}
        self.fusion = {level: weight for level, weight in enumerate(settings.predict.fusion) if weight > 0}

    def prepare(self, patches: TrainingPatches) -> None:
        """Fills the prototypes from the image bank.

        **Raises:** `SettingsError` for more prototypes than patches of a class.
        """
        bank = self.classifier.bank
        labels = torch.tensor([record.labels for record in patches.records]).numpy()
        chosen = choose_patches(labels, bank.counts, patches.seed)
        judge = SelfEncoder(self.classifier.encoder) if self.image_encoder is None else self.image_encoder
        bank.weight.copy_(cluster_bank(patches, chosen, bank.counts, judge, bank.weight.device))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(bank.weight, 0)

    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """See `Task.forward`."""
        images, labels = as_pixels(batch["image"]), batch["labels"]
        if done < STAGE:
            return self._classify(images, labels, done / STAGE)
        self.classifier.eval()
        loss = global_mean(pseudo_mask_loss(self.model(images), self.pseudo_mask(images, labels)))
        return {"loss": loss, "pseudo": loss}

    @torch.no_grad()
    def pseudo_mask(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B C"]) -> Int[Tensor, "B H W"]:
        """The class of the label with the highest fused map; glass, and patches of no class, teach nothing."""
        size = (images.shape[-2], images.shape[-1])
        outputs = self.classifier(images, self.fusion)
        merge = self.settings.predict.merge
        maps = {level: activation(self.classifier.merge(output.maps, merge)) for level, output in outputs.items()}
        absent = labels[:, :, None, None] == 0
        scores = fuse_scales(maps, self.fusion, size).masked_fill(absent, -1.0)
        nothing = absent.all(1)
        if self.settings.predict.background == "glass":
            nothing = nothing | (glass_share(images)[:, 0] > 0.5)
        return likeliest(scores).masked_fill(nothing, IGNORED)

    def _classify(self, images: Tensor, labels: Tensor, done: float) -> dict[str, Tensor]:
        settings, classifier = self.settings, self.classifier
        contrasted = (
            self.image_encoder is not None and settings.loss.contrast.weight > 0 and done >= settings.loss.warmup
        )
        outputs = classifier(images, {*self.weights, self.last} if contrasted else self.weights)
        logits = [classifier.image_logits(outputs[level].maps, settings.model.merge) for level in self.weights]
        term = classification_loss(logits, labels, list(self.weights.values()))
        parts = {"classification": global_mean(term)}
        loss = parts["classification"]
        if contrasted:
            loss = loss + self._contrast(images, outputs[self.last], labels, parts)
        return {"loss": loss, **parts}

    def _contrast(self, images: Tensor, output: ScaleOutput, labels: Tensor, parts: dict[str, Tensor]) -> Tensor:
        """Of classes: a pair is an image and a class that it has; the class stands for the mean of its clusters."""
        settings, bank = self.settings.loss.contrast, self.classifier.bank
        assert self.image_encoder is not None
        means = self.classifier.merge(bank.weight.T, "mean").T
        if isinstance(self.image_encoder, SelfEncoder):
            means = self.classifier.projections[self.last](means)
        terms = contrast_loss(
            images,
            self.classifier.merge(output.maps, "softmax"),
            draw_pairs(labels > 0, settings.pairs_per_image),
            means,
            torch.arange(len(bank.counts), device=images.device),
            self.image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            fill=settings.fill,
            size=settings.size,
            chunk=settings.chunk,
        )
        parts["foreground"] = global_mean(terms.foreground)
        parts["background"] = global_mean(terms.background)
        parts["map_mean"] = global_mean(terms.map_mean)
        bracket = global_mean(terms.both) + settings.map_weight * parts["map_mean"]
        return settings.weight * bracket


def network(encoder: Encoder, settings: Settings, classes: int) -> DenseNetwork:
    """The segmentation network of stage 2."""
    return DenseNetwork(encoder, classes, settings.model.head_width)


def first_stage(encoder: Encoder, settings: Settings, classes: int, width: int) -> LPD:
    """The classifier of stage 1, with prototypes of the given width.

    **Raises:** `SettingsError` where the settings name prototypes for another number of classes.
    """
    counts = prototype_counts(settings.model, classes)
    return LPD(encoder, counts, width, settings.model.hidden_dim, settings.model.temperature)


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> PbipTask:
    """Both networks from the same encoder weights; prototypes are as wide as the judge's embeddings.

    **Raises:** `SettingsError`, `WeightsError`.
    """
    first = deepcopy(encoder)
    judge = build_image_encoder(settings.loss.contrast.encoder, first)
    width = encoder.widths[-1] if judge is None else judge.width
    classifier = first_stage(first, settings, len(classes), width)
    return PbipTask(network(encoder, settings, len(classes)), classifier, settings, judge)

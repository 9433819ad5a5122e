"""PBIP, LPD's predecessor: prototypes are clustered from an image bank, and a second stage learns from the masks.

*Prototype-Based Image Prompting* (Tang et al., CVPR 2025, arXiv 2503.12068), written from the paper. Stage 1 is a
classifier like LPD's whose prototypes are fixed; stage 2 is a segmentation network that starts from the first
weights again and learns from stage 1's pseudo masks. Both run in one training, half of the steps each.

B images, C classes, K prototypes in all; H x W pixels.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import SettingsError
from lpdseg.losses.active import draw_pairs
from lpdseg.losses.chunks import Chunk
from lpdseg.losses.classification import Classification
from lpdseg.losses.contrast import CONTRAST_TITLES, contrast_loss
from lpdseg.losses.objective import Objective, Seen, Single
from lpdseg.losses.pseudo import IGNORED, pseudo_mask_loss
from lpdseg.losses.term import global_mean
from lpdseg.maps.background import glass_share
from lpdseg.maps.fuse import activation, fuse_scales
from lpdseg.maps.labelling import likeliest
from lpdseg.maps.pad import as_pixels
from lpdseg.methods.bank import choose_patches, cluster_bank
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.lpd import prototype_counts
from lpdseg.methods.task import Task, check_scales
from lpdseg.model.encoded import features_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.image_encoders import ImageEncoder, SelfEncoder, build_image_encoder
from lpdseg.model.lpd import LPD
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

    - `image_encoder`: of the contrast and of the image bank; None takes the encoder's first weights for the bank,
      and no contrast.

    **Raises:** `SettingsError` for settings that do not fit the encoder, or a contrast of a single class.
    """

    model: DenseNetwork
    stages = (0.0, STAGE)

    def __init__(
        self, model: DenseNetwork, classifier: LPD, settings: Settings, image_encoder: ImageEncoder | None
    ) -> None:
        super().__init__(model)
        check_scales(settings.loss.scale_weights, classifier.scales)
        if image_encoder is not None and settings.loss.contrast.weight > 0 and len(classifier.bank.counts) < 2:
            raise SettingsError("the contrast needs at least two classes; set loss.contrast.weight=0")
        self.classifier, self.settings, self.image_encoder = classifier, settings, image_encoder
        self.classifier.bank.requires_grad_(False)
        self.last = classifier.scales - 1
        self.scales = {level: weight for level, weight in enumerate(settings.loss.scale_weights) if weight > 0}
        self.fusion = {level: weight for level, weight in enumerate(settings.predict.fusion) if weight > 0}
        self.objectives = (
            Classification(self.scales, stop=STAGE),
            ClassContrast(classifier, settings, image_encoder),
            StagePseudo(self),
        )

    def prepare(self, patches: TrainingPatches, fresh: bool = True) -> None:
        """Fills the prototypes from the image bank.

        **Raises:** `SettingsError` for more prototypes than patches of a class.
        """
        if not fresh:
            return
        bank = self.classifier.bank
        labels = torch.tensor([record.labels for record in patches.records]).numpy()
        chosen = choose_patches(labels, bank.counts, patches.seed)
        image_encoder = SelfEncoder(self.classifier.encoder) if self.image_encoder is None else self.image_encoder
        bank.weight.copy_(cluster_bank(patches, chosen, bank.counts, image_encoder, bank.weight.device))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(bank.weight, 0)

    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        """See `Task.look`: of the classifier in stage 1, of the network that predicts in stage 2."""
        images, labels = as_pixels(batch["image"]), batch["labels"]
        if done >= STAGE:
            self.classifier.eval()
            return Seen(batch, images, labels, done, dense=self.model.label(batch))
        features = features_of(self.classifier.encoder, batch, "image")
        outputs = self.classifier.compare(features, {level for one in active for level in one.levels})
        merge = self.settings.model.merge
        logits = {level: self.classifier.image_logits(outputs[level].maps, merge) for level in self.scales}
        return Seen(batch, images, labels, done, logits, outputs=outputs)

    @torch.no_grad()
    def pseudo_mask(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "B H W"]:
        """The class of the label with the highest fused map; glass, and patches of no class, are ignored."""
        images, labels = as_pixels(batch["image"]), batch["labels"]
        size = (images.shape[-2], images.shape[-1])
        outputs = self.classifier.compare(features_of(self.classifier.encoder, batch, "image"), self.fusion)
        merge = self.settings.predict.merge
        maps = {level: activation(self.classifier.merge(output.maps, merge)) for level, output in outputs.items()}
        absent = labels[:, :, None, None] == 0
        scores = fuse_scales(maps, self.fusion, size).masked_fill(absent, -1.0)
        nothing = absent.all(1)
        if self.settings.predict.background == "glass":
            nothing = nothing | (glass_share(images)[:, 0] > 0.5)
        return likeliest(scores).masked_fill(nothing, IGNORED)


class ClassContrast(Objective):
    """L_sim of classes in stage 1: a pair is an image and a class that it has.

    The mean of a class's clusters stands for it.

    **Arguments:**

    - `image_encoder`: the frozen image encoder; None for no contrast.
    """

    titles: ClassVar[Mapping[str, str]] = CONTRAST_TITLES
    pixels = True

    def __init__(self, classifier: LPD, settings: Settings, image_encoder: ImageEncoder | None) -> None:
        loss = settings.loss
        self.last = classifier.scales - 1
        # The warm-up is a share of the stage, not of the whole.
        super().__init__(
            0.0 if image_encoder is None else loss.contrast.weight, loss.warmup * STAGE, STAGE, [self.last]
        )
        self.classifier, self.settings, self.image_encoder = classifier, loss.contrast, image_encoder
        self.chunk: Chunk = Chunk(loss.contrast.chunk)

    def __call__(self, seen: Seen) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """See `Objective`."""
        assert self.image_encoder is not None
        settings, classifier = self.settings, self.classifier
        means = classifier.merge(classifier.bank.weight.T, "mean").T
        if isinstance(self.image_encoder, SelfEncoder):
            means = classifier.projections[self.last](means)
        terms = contrast_loss(
            seen.images,
            classifier.merge(seen.outputs[self.last].maps, "softmax"),
            draw_pairs(seen.labels > 0, settings.pairs_per_image),
            means,
            torch.arange(len(classifier.bank.counts), device=seen.images.device),
            self.image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            fill=settings.fill,
            size=settings.size,
            chunk=self.chunk,
        )
        return terms.bracket(settings.map_weight)


class StagePseudo(Single):
    """Cross-entropy with the classifier's masks, in stage 2."""

    titles: ClassVar[Mapping[str, str]] = {"pseudo": "pseudo masks, cross-entropy"}

    def __init__(self, task: PbipTask) -> None:
        super().__init__(start=STAGE)
        self.mask, self.pixels = task.pseudo_mask, task.settings.predict.background == "glass"

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`."""
        assert seen.dense is not None
        return global_mean(pseudo_mask_loss(seen.dense, self.mask(seen.batch)))


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
    """Both networks from the same encoder weights; prototypes are as wide as the image encoder's embeddings.

    **Raises:** `SettingsError`, `WeightsError`.
    """
    first = deepcopy(encoder)
    image_encoder = build_image_encoder(settings.loss.contrast.encoder, first)
    width = encoder.widths[-1] if image_encoder is None else image_encoder.width
    classifier = first_stage(first, settings, len(classes), width)
    return PbipTask(network(encoder, settings, len(classes)), classifier, settings, image_encoder)

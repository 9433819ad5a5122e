"""The teacher of the segmentation head: a moving average of the model, which turns image-level labels into masks.

B images, C classes, h x w pixels of a pseudo mask. One-stage self-training in this form: Ru et al. 2022 (AFA,
arXiv 2203.02664), Ru et al. 2023 (ToCo, arXiv 2303.01267).
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.losses.objective import Objective, Seen
from lpdseg.losses.pseudo import IGNORED, candidate_loss, confident_mask, pseudo_mask_loss
from lpdseg.losses.term import global_mean
from lpdseg.maps.background import glass_share
from lpdseg.maps.fuse import activation, fuse_scales
from lpdseg.maps.labelling import class_probabilities
from lpdseg.model.encoded import features_of
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings, PseudoSettings

_START = 10
"""Steps over which the average is short, so that the first weights are soon forgotten."""


class Teacher(nn.Module):
    """A copy of a model that follows it and is never trained.

    **Arguments:**

    - `model`: with a segmentation head.
    - `predict`: fusion weights, and whether background is glass.
    """

    def __init__(self, model: LPD, settings: PseudoSettings, predict: PredictSettings) -> None:
        super().__init__()
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.settings, self.glass = settings, predict.background == "glass"
        self.fusion = {level: weight for level, weight in enumerate(predict.fusion) if weight > 0}

    def train(self, mode: bool = True) -> "Teacher":
        """The teacher always predicts, whatever its owner does."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, model: LPD, step: int) -> None:
        """Moves towards `model`, which has made `step` steps: weights as a moving average, buffers at once."""
        keep = min(self.settings.momentum, step / (step + _START))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - keep)
        torch._foreach_copy_(list(self.model.buffers()), list(model.buffers()))

    @torch.no_grad()
    def masks(
        self,
        features: list[Tensor],
        images: Float[Tensor, "B _n H W"],
        labels: Float[Tensor, "B C"],
        done: float,
        size: tuple[int, int],
    ) -> Int[Tensor, "B h w"]:
        """Pseudo masks of `size`, limited to the classes of the label; see `lpdseg.losses.pseudo.confident_mask`.

        They come from the class maps of the teacher's own features, and more and more from its own head as `done`
        grows. Only glass is looked for in the images.
        """
        probabilities = self._by_maps(features, labels, size)
        share = self._share_of_head(done)
        if share > 0:
            probabilities = (1 - share) * probabilities + share * self._by_head(features, labels, size)
        glass = None
        if self.glass:
            glass = F.interpolate(glass_share(images), size=size, mode="area")[:, 0] > 0.5
        return confident_mask(probabilities, labels, glass, self.settings.confidence)

    def _share_of_head(self, done: float) -> float:
        ramp = (done - self.settings.start) / self.settings.ramp
        return self.settings.blend * min(1.0, max(0.0, ramp))

    def _by_maps(self, features: list[Tensor], labels: Tensor, size: tuple[int, int]) -> Tensor:
        outputs = self.model.compare(features, self.fusion)
        maps = {level: activation(self.model.merge(output.maps, "softmax")) for level, output in outputs.items()}
        scores = fuse_scales(maps, self.fusion, size)
        return class_probabilities(scores, labels > 0, None, self.settings.temperature)

    def _by_head(self, features: list[Tensor], labels: Tensor, size: tuple[int, int]) -> Tensor:
        dense = self.model.dense(features).at_size(size)
        absent = (labels == 0) & (labels > 0).any(1, keepdim=True)
        return dense.masked_fill(absent[:, :, None, None], -torch.inf).softmax(1)


class PseudoMasks(Objective):
    """The segmentation head's loss on the teacher's masks.

    Pixels that the teacher is unsure of may take the classes of the label alone.

    **Arguments:**

    - `teacher`: None where there is none, and then nothing is taught.
    """

    titles: ClassVar[Mapping[str, str]] = {
        "pseudo": "pseudo masks, cross-entropy",
        "candidates": "unsure pixels, classes of the label",
    }

    def __init__(self, model: LPD, settings: PseudoSettings, teacher: Teacher | None) -> None:
        super().__init__(0.0 if teacher is None else settings.weight, settings.start)
        self.model, self.settings, self.teacher = model, settings, teacher
        self.pixels = teacher is not None and teacher.glass

    def __call__(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
        assert self.teacher is not None
        settings, images = self.settings, seen.images
        # Class maps are coarser than patches, so a finer mask would hold no more and cost memory.
        size = (images.shape[-2] // settings.stride, images.shape[-1] // settings.stride)
        with torch.no_grad():
            features = features_of(self.teacher.model.encoder, seen.batch, "image")
        mask = self.teacher.masks(features, images, seen.labels, seen.done, size)
        dense = self.model.dense(seen.features).at_size(size)
        loss = global_mean(pseudo_mask_loss(dense, mask, settings.balance))
        parts = {"pseudo": loss}
        if settings.candidates > 0:
            parts["candidates"] = global_mean(candidate_loss(dense, seen.labels, mask == IGNORED))
            loss = loss + settings.candidates * parts["candidates"]
        return loss, parts

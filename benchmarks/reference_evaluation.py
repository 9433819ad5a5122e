"""Evaluation with class maps from the method's equations, one image and one view at a time: a yardstick for speed.

As published: six passes of the network for each image, in float32, each scale and class brought to the image's size
by itself, a dense CRF of one image, pixels counted class by class. The CRF is the package's, which is as fast as
pydensecrf (`benchmarks/crf.py`); nothing else is. `tests/benchmarks/test_reference.py` compares the masks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lpdseg.maps.crf import dense_crf
from lpdseg.model.lpd import LPD
from lpdseg.settings import Settings


@torch.no_grad()
def reference_masks(
    model: LPD, settings: Settings, images: Tensor, thresholds: Sequence[float]
) -> Iterator[np.ndarray]:
    """uint8 images, N x 3 x H x W, → one mask after another; background is the number of classes.

    For published settings: merge `softmax` of prototypes in maps and `mean` in image-level logits, background
    `power`, no class offsets, sides that are multiples of the encoder's stride.

    **Raises:** `ValueError` for settings that it does not know.
    """
    predict = settings.predict
    if (predict.merge, settings.model.merge, predict.background) != ("softmax", "mean", "power"):
        raise ValueError("the reference knows merge softmax in maps and mean in logits, and background power alone")
    for image in images:
        yield _mask(model, settings, image, thresholds)


def _mask(model: LPD, settings: Settings, image: Tensor, thresholds: Sequence[float]) -> np.ndarray:
    predict = settings.predict
    classes, (height, width) = len(model.bank.counts), image.shape[-2:]
    seen = [_look(model, settings, image.float() / 255, view) for view in predict.views]
    scores = []
    for c in range(classes):
        total = torch.zeros(height, width)
        for level, weight in enumerate(predict.fusion):
            if weight > 0:
                mean = torch.stack([maps[level][c] for maps, _ in seen]).mean(0)
                grown = F.interpolate(mean[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
                total = total + grown * (weight / sum(predict.fusion))
        scores.append(total)
    means = torch.stack([probability for _, probability in seen]).mean(0)
    passed = [c for c in range(classes) if means[c] >= thresholds[c]]
    highest = torch.zeros(height, width)
    for c in passed:
        highest = torch.maximum(highest, scores[c])
    background = (1 - highest).clamp(min=0) ** predict.background_power
    closed = torch.full((height, width), -torch.inf)
    logits = [scores[c] / predict.temperature if c in passed else closed for c in range(classes)]
    probabilities = torch.stack([*logits, background / predict.temperature]).softmax(0)
    if predict.refine == "crf":
        unary = -probabilities.clamp(min=1e-8).log()
        for c in range(classes):
            if c not in passed:
                unary[c] = torch.inf
        probabilities = dense_crf(unary[None], image[None], **predict.crf.model_dump())[0]
    return probabilities.argmax(0).numpy().astype(np.uint8)


def _look(model: LPD, settings: Settings, image: Tensor, view: str) -> tuple[dict[int, list[Tensor]], Tensor]:
    """One pass: the activation of each scale and class, turned back, and the image-level probabilities."""
    if view.endswith("dark"):
        image = image * 0.9
    elif view.endswith("bright"):
        image = (image * 1.1).clamp(max=1)
    flipped = view.startswith("flip")
    features = model.encoder(image[None].flip(-1) if flipped else image[None])
    weights = settings.loss.scale_weights
    maps: dict[int, list[Tensor]] = {}
    logits = torch.zeros(len(model.bank.counts))
    for level, values in enumerate(features):
        projected = model.projections[level](model.bank.weight)
        rows = [F.cosine_similarity(values[0].float(), one[:, None, None], dim=0) for one in projected]
        cosine = torch.stack(rows) * model.cosines[level].scale
        first, found = 0, []
        for c, count in enumerate(model.bank.counts):
            own = cosine[first : first + count]
            logits[c] += own.mean((1, 2)).mean() * (weights[level] / sum(weights))
            merged = (own.softmax(0) * own).sum(0).relu()
            merged = (merged - merged.min()) / (merged.max() - merged.min()).clamp(min=1e-6)
            found.append(merged.flip(-1) if flipped else merged)
            first += count
        maps[level] = found
    return maps, logits.sigmoid()


def count_pixels(truth: np.ndarray, mask: np.ndarray, channels: int) -> np.ndarray:
    """The confusion matrix of one image, class by class."""
    rows = [[int(((truth == a) & (mask == b)).sum()) for b in range(channels)] for a in range(channels)]
    return np.array(rows)

"""Splits that no network has seen: activations, images with glass, masks, and what prediction makes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter
from lpdseg.tissue import IGNORE, TissueClasses

Size = tuple[int, int]


def classes_of(count: int, background: bool) -> TissueClasses:
    """A, B, …, with background behind them or without."""
    return TissueClasses(tuple("ABCDEFGH"[:count]), background=count if background else None)


def segmenter_of(model: LPD, classes: TissueClasses, **changes: Any) -> Segmenter:
    """A segmenter with two of three scales; the model is asked for nothing but its shape."""
    settings = PredictSettings(**({"fusion": (0, 0.4, 0.6), "refine": "none", "temperature": 0.3} | changes))
    return Segmenter(model.eval(), classes, settings, Calibration.plain(len(classes)), (0.0, 0.0, 1.0), "mean")


def draw_split(segmenter: Segmenter, batches: Sequence[tuple[int, Size]], seed: int = 0) -> ObservedSplit:
    """Batches of so many patches of a size; truth follows the activations and probabilities the truth, roughly."""
    rng = np.random.default_rng(seed)
    drawn = [_batch(segmenter, count, size, rng) for count, size in batches]
    probabilities = np.concatenate([evidence.probabilities.numpy() for _, evidence in drawn])
    truth = torch.cat([batch.labels(len(segmenter.classes)) for batch, _ in drawn]).numpy()
    return ObservedSplit(tuple(b for b, _ in drawn), tuple(e for _, e in drawn), probabilities, truth)


def _batch(
    segmenter: Segmenter, count: int, size: Size, rng: np.random.Generator
) -> tuple[LabelledBatch, Evidence]:
    classes, padded = len(segmenter.classes), (-(-size[0] // 16) * 16, -(-size[1] // 16) * 16)
    levels = {0: 4} if segmenter.by_head else dict.fromkeys(segmenter.fusion, 8)
    maps = {
        level: torch.from_numpy(
            rng.random((count, classes, padded[0] // side, padded[1] // side), np.float32) ** np.float32(2)
        )
        for level, side in levels.items()
    }
    if segmenter.by_head:
        maps = {level: (values * 4).softmax(1) for level, values in maps.items()}
    evidence = Evidence(maps, torch.from_numpy(rng.random((count, classes), np.float32)), size, padded)
    scores = segmenter.fuse(evidence) * torch.from_numpy(rng.uniform(0.5, 1, (1, classes, 1, 1)).astype(np.float32))
    absent = torch.from_numpy(rng.random((count, classes)) < 0.3)
    truth = scores.masked_fill(absent[:, :, None, None], -1).max(1).indices.to(torch.uint8)
    evidence.probabilities.mul_(1 - 0.5 * absent.float())
    images = torch.full((count, 3, *size), 250, dtype=torch.uint8)
    for image in images:  # stained columns of several widths, so that glass is anything from 0 to 1
        stained = torch.from_numpy(rng.random(size[1]) < rng.random())
        image[:, :, stained] = torch.tensor([170, 120, 160], dtype=torch.uint8)[:, None, None]
    if segmenter.classes.background is not None:
        truth[(images[:, 0] > 200) & torch.from_numpy(rng.random((count, *size)) < 0.7)] = classes
    truth[torch.from_numpy(rng.random((count, *size)) < 0.1)] = IGNORE
    return LabelledBatch(images, truth.numpy(), tuple(f"p{i}" for i in range(count))), evidence


def predict(segmenter: Segmenter, split: ObservedSplit, thresholds: np.ndarray, offsets: np.ndarray) -> list[Any]:
    """(truth, mask) of every patch, each at every fourth pixel of prediction at full size, without refinement."""
    calibration = Calibration(torch.tensor(thresholds).float(), torch.tensor(offsets).float())
    plain = segmenter.with_settings(gate="predicted", refine="none").calibrated(calibration)
    pairs: list[Any] = []
    for batch, evidence in zip(split.batches, split.evidence, strict=True):
        rows, columns = (list(range(min(2, side - 1), side, 4)) for side in evidence.size)
        masks = plain.decide(evidence, batch.images).mask.numpy()
        pairs += [
            (t[np.ix_(rows, columns)], m[np.ix_(rows, columns)]) for t, m in zip(batch.masks, masks, strict=True)
        ]
    return pairs


def count(pairs: Sequence[Any], channels: int) -> np.ndarray:
    """The confusion matrix, pixel by pixel."""
    matrix = np.zeros((channels, channels), np.int64)
    for truth, mask in pairs:
        np.add.at(matrix, (truth[truth < channels], mask[truth < channels]), 1)
    return matrix

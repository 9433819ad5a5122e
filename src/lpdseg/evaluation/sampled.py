"""The pixels of a split on which calibration chooses: the prediction's own, at evenly spread places.

B patches of one size, S pixels of each, C classes, n channels of truth (background last).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lpdseg.evaluation.split import LabelledBatch, ObservedSplit, there
from lpdseg.maps.sampling import every
from lpdseg.model.device import runs_ahead
from lpdseg.segmenting.segmenter import Evidence, Segmenter

_STEP = 4
"""Every fourth pixel of every fourth row: neighbours say nearly the same."""

_MOST_VALUES = 1 << 26
"""Logits that are kept of a split, 256 MiB, with the rule power up to twice as many; a larger split is sampled more
coarsely. 3,418 patches of 224 px with four classes and background have 54 million."""

_AT_ONCE = 1 << 17
"""Pixels that are worked on at once, so that what is computed from them stays in the processor's cache."""

_AT_ONCE_AHEAD = 1 << 20
"""The same for a device, which larger pieces keep busy; four classes take 150 MB of its memory for them."""


@dataclass(frozen=True)
class SampledPixels:
    """What a segmenter makes of some pixels before gate and offsets: the same as of the whole image there.

    - `truth`: internal indices; n or above where a pixel does not count.
    - `channels`: n.
    - `logits`: of the classes, without offsets.
    - `background`: its logit if class c alone passed the gate. It falls as the highest score rises, so where
      several pass it is the lowest of theirs. Glass is the same for all classes and kept once; None is for none.
    """

    truth: UInt8[Tensor, "B S"]
    channels: int
    logits: Float[Tensor, "B C S"]
    background: Float[Tensor, "B _k S"] | None

    def __len__(self) -> int:
        """How many patches."""
        return len(self.truth)

    @classmethod
    def joined(cls, parts: Sequence["SampledPixels"]) -> "SampledPixels":
        """Patches of one size, of several batches."""
        backgrounds = [part.background for part in parts if part.background is not None]
        return cls(
            torch.cat([part.truth for part in parts]),
            parts[0].channels,
            torch.cat([part.logits for part in parts]),
            torch.cat(backgrounds) if backgrounds else None,
        )


def sample_split(segmenter: Segmenter, observed: ObservedSplit) -> list[SampledPixels]:
    """The pixels of a split, patches in their order, in parts of about 131,000 pixels, on a device of a million.

    Scores and glass are computed from the whole image, one batch at a time, and only then thinned out: a smaller
    image would have other edges, and other glass, since that is averaged over so many pixels.
    """
    step = sampling_step(observed, len(segmenter.classes) + 1)
    batches = zip(observed.batches, observed.evidence, strict=True)
    return list(_in_parts(_sample(segmenter, batch, evidence, step) for batch, evidence in batches))


def sampling_step(observed: ObservedSplit, values: int) -> int:
    """Every how many pixels a split is looked at, where so many values are kept of each."""
    return _step([evidence.size for evidence in observed.evidence for _ in evidence.probabilities], values)


@torch.inference_mode()
def _sample(segmenter: Segmenter, batch: LabelledBatch, evidence: Evidence, step: int) -> SampledPixels:
    rows, columns = (every(step, side) for side in evidence.size)
    scores = segmenter.fuse(evidence)[..., rows, columns]
    glass = segmenter.glass(there(batch.images, scores.device), step)
    background = segmenter.background_logit(scores, glass)
    return SampledPixels(
        there(batch.truth, scores.device)[:, rows, columns].flatten(1),
        segmenter.classes.channels,
        segmenter.class_logits(scores, glass).flatten(2),
        None if background is None else background.flatten(2),
    )


def _step(sizes: Sequence[tuple[int, int]], values: int) -> int:
    """The smallest step from `_STEP` on at which patches of these sizes hold few enough values."""
    each, count = np.unique(np.asarray(sizes), axis=0, return_counts=True)
    step = _STEP
    while step < each.max() and values * (count * (-(-each // step)).prod(1)).sum() > _MOST_VALUES:
        step += 1
    return step


def _in_parts(samples: Iterable[SampledPixels]) -> Iterator[SampledPixels]:
    """Neighbouring batches of one size, joined as long as they are few pixels."""
    held: list[SampledPixels] = []
    for sample in samples:
        most = _AT_ONCE_AHEAD if runs_ahead(sample.truth.device) else _AT_ONCE
        together = sum(part.truth.numel() for part in held) + sample.truth.numel()
        if held and (held[0].truth.shape[1] != sample.truth.shape[1] or together > most):
            yield SampledPixels.joined(held)
            held = []
        held.append(sample)
    yield SampledPixels.joined(held)

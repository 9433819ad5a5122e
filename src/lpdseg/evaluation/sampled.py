"""The pixels of a split on which calibration chooses: the prediction's own, at evenly spread places.

B patches of one size, S pixels of each (in one column, for the maps' functions), C classes, n channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.maps.sampling import every
from lpdseg.segmenting.segmenter import Evidence, Segmenter

_STEP = 4
"""Every fourth pixel of every fourth row: neighbours say nearly the same."""

_MOST_VALUES = 1 << 26
"""Logits that are kept of a split, 256 MiB; a larger split is sampled more coarsely. 3,418 patches of 224 px with
four classes and background have 54 million."""

_AT_ONCE = 1 << 17
"""Pixels that are worked on at once, so that what is computed from them stays in the processor's cache."""


@dataclass(frozen=True)
class SampledPixels:
    """What a segmenter makes of some pixels before gate and offsets: the same as of the whole image there.

    - `truth`: internal indices; n or above where a pixel does not count.
    - `logits`: of the classes, without offsets.
    - `scores`: of the classes; only where background hangs on which of them pass the gate.
    - `glass`: the share of glass; only where that is background.
    """

    truth: UInt8[Tensor, "B S"]
    logits: Float[Tensor, "B C S 1"]
    scores: Float[Tensor, "B C S 1"] | None
    glass: Float[Tensor, "B 1 S 1"] | None

    def __len__(self) -> int:
        """How many patches."""
        return len(self.truth)

    @classmethod
    def joined(cls, parts: Sequence["SampledPixels"]) -> "SampledPixels":
        """Patches of one size, of several batches."""
        return cls(
            torch.cat([part.truth for part in parts]),
            torch.cat([part.logits for part in parts]),
            _joined([part.scores for part in parts]),
            _joined([part.glass for part in parts]),
        )


def sample_split(segmenter: Segmenter, observed: ObservedSplit) -> list[SampledPixels]:
    """The pixels of a split, patches in their order, in parts of about 131,000 pixels.

    Scores and glass are computed from the whole image, one batch at a time, and only then thinned out: a smaller
    image would have other edges, and other glass, since that is averaged over so many pixels.
    """
    sizes = [evidence.size for evidence in observed.evidence for _ in range(len(evidence.probabilities))]
    step = _step(sizes, len(segmenter.classes) + 1)
    batches = zip(observed.batches, observed.evidence, strict=True)
    return list(_in_parts(_sample(segmenter, batch, evidence, step) for batch, evidence in batches))


@torch.inference_mode()
def _sample(segmenter: Segmenter, batch: LabelledBatch, evidence: Evidence, step: int) -> SampledPixels:
    rows, columns = (every(step, side) for side in evidence.size)
    scores = _in_a_column(segmenter.fuse(evidence)[..., rows, columns])
    glass = segmenter.glass(batch.images, step)
    glass = None if glass is None else _in_a_column(glass)
    return SampledPixels(
        torch.from_numpy(batch.masks[:, rows, columns].copy()).flatten(1).to(scores.device),
        segmenter.class_logits(scores, glass),
        scores if segmenter.settings.background == "power" else None,
        glass,
    )


def _in_a_column(values: Float[Tensor, "B _n h w"]) -> Float[Tensor, "B _n S 1"]:
    return values.flatten(2).unsqueeze(3).contiguous()


def _step(sizes: Sequence[tuple[int, int]], values: int) -> int:
    """The smallest step from `_STEP` on at which patches of these sizes hold few enough values."""
    each, count = np.unique(np.asarray(sizes), axis=0, return_counts=True)
    step = _STEP
    while step < each.max() and values * (count * (-(-each // step)).prod(1)).sum() > _MOST_VALUES:
        step += 1
    return step


def _joined(values: Sequence[Tensor | None]) -> Tensor | None:
    known = [value for value in values if value is not None]
    return torch.cat(known) if known else None


def _in_parts(samples: Iterable[SampledPixels]) -> Iterator[SampledPixels]:
    """Neighbouring batches of one size, joined as long as they are few pixels."""
    held: list[SampledPixels] = []
    for sample in samples:
        together = sum(part.truth.numel() for part in held) + sample.truth.numel()
        if held and (held[0].truth.shape[1] != sample.truth.shape[1] or together > _AT_ONCE):
            yield SampledPixels.joined(held)
            held = []
        held.append(sample)
    yield SampledPixels.joined(held)

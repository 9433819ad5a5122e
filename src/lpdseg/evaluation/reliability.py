"""Whether reported probabilities are right as often as they say, and the temperature that makes them so.

Reported are the probabilities of `lpdseg.maps.uncertainty`, before refinement, at evenly spread pixels.
n channels (background last), S pixels, b bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpdseg.maps.sampling import every
from lpdseg.maps.uncertainty import tempered

BINS = 15

_STEP = 4
"""Every fourth pixel of every fourth row: neighbours say nearly the same."""

_MOST_PIXELS = 1 << 20
"""A larger split is sampled more coarsely: ten channels of so many pixels are 40 MiB."""

_COLDEST, _HOTTEST = 0.1, 10.0


@dataclass(frozen=True)
class Reported:
    """Some pixels of a split.

    - `probabilities`: not rescaled; sum 1 over the channels.
    - `truth`: internal indices; those from n on are no channel of the run.
    """

    probabilities: Float[Tensor, "n S"]
    truth: UInt8[Tensor, " S"]

    @classmethod
    def of(cls, probabilities: Float[Tensor, "B n H W"], truth: UInt8[Tensor, "B H W"], step: int) -> "Reported":
        """Every `step`-th pixel of a batch, where it is."""
        rows, columns = (every(step, side) for side in truth.shape[1:])
        return cls(probabilities[..., rows, columns].transpose(0, 1).flatten(1), truth[:, rows, columns].flatten())

    @classmethod
    def joined(cls, parts: Sequence["Reported"]) -> "Reported":
        """Those of several batches, on the host."""
        probabilities = torch.cat([part.probabilities for part in parts], 1).float().cpu()
        return cls(probabilities, torch.cat([part.truth for part in parts]).cpu())


def reported_step(pixels: int) -> int:
    """Every how many pixels of each row, and rows, a split of so many is looked at."""
    return max(_STEP, int(np.ceil(np.sqrt(pixels / _MOST_PIXELS))))


@dataclass(frozen=True)
class Reliability:
    """How often the likeliest channel is the true one, by how likely it was said to be: 0 to 1 in even bins, the
    upper edge belonging to each.

    - `pixels`, `right`: counts.
    - `confidence`: the sum of what was said.
    """

    pixels: Int[np.ndarray, " b"]
    right: Int[np.ndarray, " b"]
    confidence: Float[np.ndarray, " b"]

    @classmethod
    def of(cls, reported: Reported, temperature: float, counted: int, bins: int = BINS) -> "Reliability":
        """Of pixels whose truth is below `counted`; a truth that is no channel of the run is never right."""
        here = reported.truth < counted
        scaled = tempered(reported.probabilities[:, here, None], temperature)[..., 0].numpy()
        if not scaled.size:
            return cls(np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.zeros(bins))
        best = scaled.argmax(0)  # the first of equals, as in masks
        confidence = scaled[best, np.arange(len(best))].astype(np.float64)
        place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
        right = best == reported.truth[here].numpy()
        return cls(
            np.bincount(place, minlength=bins),
            np.bincount(place[right], minlength=bins),
            np.bincount(place, confidence, bins),
        )

    @property
    def ece(self) -> float:
        """Expected calibration error, in 0..1: the mean over pixels of |share that is right − mean confidence| of
        their bin (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599); NaN without pixels."""
        total = int(self.pixels.sum())
        return float(np.abs(self.right - self.confidence).sum() / total) if total else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain values by bin: pixels, and per cent of them that are right, and mean confidence in per cent."""
        return {
            "pixels": self.pixels.tolist(),
            "right": _percent(self.right, self.pixels),
            "confidence": _percent(self.confidence, self.pixels),
        }


def _percent(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [round(100 * float(p / w), 4) if w else None for p, w in zip(part, whole, strict=True)]


def fit_temperature(reported: Reported) -> float:
    """The T of least mean −log p of the true channel after `tempered`, in 0.1..10 (Guo et al. 2017, §4.2).

    It is convex in 1/T. Pixels whose true channel is none of the run's, or closed by the gate, have probability 0
    whatever T is, and say nothing of it. 1 where no pixel is left.
    """
    from scipy.optimize import minimize_scalar

    known = reported.truth < len(reported.probabilities)
    probabilities, truth = reported.probabilities[:, known], reported.truth[known].long()
    own = probabilities.gather(0, truth[None])[0]
    logs = probabilities[:, own > 0].log()
    own = own[own > 0].log()
    if not len(own):
        return 1.0

    def loss(inverse: float) -> float:
        return float(((logs * inverse).logsumexp(0) - own * inverse).double().mean())

    found = minimize_scalar(loss, bounds=(1 / _HOTTEST, 1 / _COLDEST), method="bounded", options={"xatol": 1e-4})
    return round(1 / float(found.x), 4)


def described(reported: Reported, temperature: float, counted: int) -> dict[str, Any]:
    """The calibration figure of a record, in per cent: `temperature`, `ece` and `bins` with it, `ece_unscaled` and
    `bins_unscaled` without (temperature 1). `counted`: pixels whose truth is below it count."""
    scaled, plain = (Reliability.of(reported, one, counted) for one in (temperature, 1.0))
    ends = [None if np.isnan(one.ece) else round(100 * one.ece, 4) for one in (scaled, plain)]
    return {
        "temperature": temperature,
        "ece": ends[0],
        "ece_unscaled": ends[1],
        "bins": scaled.as_dict(),
        "bins_unscaled": plain.as_dict(),
    }

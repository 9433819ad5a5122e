"""The model on the windows of a segment: their class probabilities, blended into one strip.

B windows, each w x w pixels; C classes, n channels (background last where the model has it); a strip spans W
pixels. P pixels across were read, see `Segment.places`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from lpdseg.errors import DataError
from lpdseg.maps.winners import winner_of_class
from lpdseg.segmenting.memory import if_it_fits
from lpdseg.segmenting.prediction import check_computed
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.passes import StripSum
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.transfers import Transfers

NO_WINNER = 255
"""Of a class without prototypes."""


@dataclass(frozen=True)
class Blended:
    """What the windows of a segment add up to.

    - `values`: Σ weight · probability, of 2n channels where unrefined ones were asked for: these come last.
    - `winners`: of each class the index of its winning prototype, from the window of the largest weight at the
      pixel (the first of equals); None where they were not asked for.
    """

    values: Float32[np.ndarray, "_n w W"]
    winners: UInt8[np.ndarray, "C w W"] | None = None


class WindowModel:
    """Computes windows, as many at once as fit in memory.

    A batch that does not fit is halved, for good. Halves may differ from the whole by rounding, for libraries
    choose their algorithms by the size of a batch; nothing else changes a result.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.most: int | None = None  # windows at once; None while nothing was too large
        self._transfers, self._winning = Transfers(segmenter.device), segmenter.winning
        self._weights: tuple[np.ndarray, Tensor] | None = None

    @torch.inference_mode()
    def begin(
        self,
        pixels: UInt8[np.ndarray, "w P 3"],
        segment: Segment,
        weights: Float32[np.ndarray, "w w"],
        prototypes: bool = False,
        unrefined: bool = False,
    ) -> Callable[[], Blended]:
        """Begins with the windows of a segment; what it gives waits until they are computed and blended.

        On a GPU the next segment can be begun before that, and is computed while the result is brought back.

        **Arguments:**

        - `pixels`: of the segment, see `Segment.places`.
        - `weights`: of a window's pixels, positive.
        - `prototypes`: ask for winners. Of those there are 253 at most.
        - `unrefined`: ask for the probabilities before refinement as well.

        **Raises:** `DataError` where one window alone does not fit in memory; what it gives, `CheckpointError` as
        `check_computed`.
        """
        side, weight = len(pixels), self._there(weights)
        strip, there = StripSum(segment.offsets, weight), self._transfers.upload(pixels)
        places, first = segment.places(side), 0
        while first < len(places):
            some = places[first : first + (self.most or len(places))]
            found = if_it_fits(partial(self._of, there, prototypes=prototypes, unrefined=unrefined), some)
            if found is None:
                if len(some) == 1:
                    raise DataError(
                        f"a window of {side} x {side} pixels does not fit in memory even alone; make --window "
                        "smaller"
                    )
                self.most = len(some) // 2
                continue
            strip.add(*found)
            first += len(some)
        fetch = self._transfers.download(strip.found)

        def result() -> Blended:
            values, *winners = fetch()
            check_computed(values)
            return Blended(values, *winners)

        return result

    def compute(
        self, pixels: UInt8[np.ndarray, "B w w 3"], prototypes: bool = False, unrefined: bool = False
    ) -> tuple[Float[Tensor, "B _n w w"], UInt8[Tensor, "B C w w"] | None]:
        """Class probabilities of windows, and what else is asked for as by `begin`, on the segmenter's device."""
        return self._compute(self._transfers.upload(pixels.transpose(0, 3, 1, 2).copy()), prototypes, unrefined)

    def _of(
        self, pixels: UInt8[Tensor, "w P 3"], places: Sequence[int], prototypes: bool, unrefined: bool
    ) -> tuple[Float[Tensor, "B _n w w"], UInt8[Tensor, "B C w w"] | None]:
        side = len(pixels)
        planes = pixels[:, places[0] : places[-1] + side].permute(2, 0, 1).contiguous()
        images = torch.stack([planes[:, :, x - places[0] : x - places[0] + side] for x in places])
        return self._compute(images, prototypes, unrefined)

    @torch.inference_mode()
    def _compute(
        self, images: UInt8[Tensor, "B 3 w w"], prototypes: bool, unrefined: bool
    ) -> tuple[Float[Tensor, "B _n w w"], UInt8[Tensor, "B C w w"] | None]:
        observe = self.segmenter.observe
        evidence = observe(images, parts=True) if prototypes else observe(images)
        # Without a map of prototypes of its own: here each class has one.
        found = self.segmenter.decide(replace(evidence, parts=None), images)
        probabilities = found.probabilities.float()
        if unrefined:
            probabilities = torch.cat([probabilities, found.unrefined.float()], 1)
        if not prototypes:
            return probabilities, None
        claims, winning = self.segmenter.claims(evidence), self._winning
        assert claims is not None and winning is not None
        winners = [
            winner_of_class(claims, winning, c, evidence.size, evidence.padded).clamp(max=NO_WINNER).to(torch.uint8)
            for c in range(len(self.segmenter.classes))
        ]
        return probabilities, torch.stack(winners, 1)

    def _there(self, weights: Float32[np.ndarray, "w w"]) -> Float32[Tensor, "w w"]:
        """The weights on the device, where those of the segment before mostly are."""
        if self._weights is None or not (self._weights[0] is weights or np.array_equal(self._weights[0], weights)):
            self._weights = weights, self._transfers.upload(weights)
        return self._weights[1]

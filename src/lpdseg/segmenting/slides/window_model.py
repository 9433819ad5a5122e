"""The model on the windows of a segment: their class probabilities, blended into one strip.

B windows, each w x w pixels; C classes, n channels (background last where the model has it); a strip spans W
pixels.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from lpdseg.errors import DataError
from lpdseg.maps.winners import winner_of_class
from lpdseg.segmenting.memory import if_it_fits
from lpdseg.segmenting.segmenter import Segmenter

NO_WINNER = 255
"""Of a class without prototypes."""


@dataclass(frozen=True)
class Blended:
    """What the windows of a segment add up to.

    - `values`: Σ weight · probability.
    - `winners`: of each class the index of its winning prototype, from the window of the largest weight at the
      pixel (the first of equals); None where they were not asked for.
    """

    values: Float32[np.ndarray, "n w W"]
    winners: UInt8[np.ndarray, "C w W"] | None


class WindowModel:
    """Computes windows, as many at once as fit in memory.

    A batch that does not fit is halved, for good. Halves may differ from the whole by rounding, for libraries
    choose their algorithms by the size of a batch; nothing else changes a result.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.most: int | None = None  # windows at once; None while nothing was too large

    def strip(
        self,
        pixels: UInt8[np.ndarray, "B w w 3"],
        offsets: tuple[int, ...],
        weights: Float32[np.ndarray, "w w"],
        prototypes: bool = False,
    ) -> Blended:
        """The windows at their places, blended.

        **Arguments:**

        - `offsets`: x of each window in the strip, rising from 0.
        - `weights`: of a window's pixels, positive.
        - `prototypes`: ask for winners. Of those there are 253 at most.

        **Raises:** `DataError` where one window alone does not fit in memory.
        """
        side = pixels.shape[1]
        weight = torch.from_numpy(weights).to(self.segmenter.device)
        total: Tensor | None = None
        won: Tensor | None = None
        heaviest = weight.new_zeros(side, offsets[-1] + side)
        first = 0
        while first < len(pixels):
            some = pixels[first : first + (self.most or len(pixels))]
            found = if_it_fits(partial(self.compute, prototypes=prototypes), some)
            if found is None:
                if len(some) == 1:
                    raise DataError(
                        f"a window of {side} x {side} pixels does not fit in memory even alone; make --window "
                        "smaller"
                    )
                self.most = len(some) // 2
                continue
            probabilities, winners = found
            if total is None:
                total = probabilities.new_zeros(probabilities.shape[1], side, offsets[-1] + side)
            for x, window in zip(offsets[first : first + len(some)], probabilities, strict=True):
                total[:, :, x : x + side] += window * weight
            if winners is not None:
                if won is None:
                    won = winners.new_zeros(winners.shape[1], side, offsets[-1] + side)
                for x, winner in zip(offsets[first : first + len(some)], winners, strict=True):
                    here, before = won[:, :, x : x + side], heaviest[:, x : x + side]
                    here.copy_(torch.where(weight > before, winner, here))
                    before.copy_(torch.maximum(weight, before))
            first += len(some)
        assert total is not None
        return Blended(total.cpu().numpy(), None if won is None else won.cpu().numpy())

    @torch.inference_mode()
    def compute(
        self, pixels: UInt8[np.ndarray, "B w w 3"], prototypes: bool = False
    ) -> tuple[Float[Tensor, "B n w w"], UInt8[Tensor, "B C w w"] | None]:
        """Class probabilities of windows, and each class's winners where asked for, on the segmenter's device."""
        images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        if not prototypes:
            return self.segmenter.decide(self.segmenter.observe(images), images).probabilities.float(), None
        evidence = self.segmenter.observe(images, parts=True)
        # Without a map of prototypes of its own: here each class has one.
        probabilities = self.segmenter.decide(replace(evidence, parts=None), images).probabilities.float()
        claims, winning = self.segmenter.claims(evidence), self.segmenter.winning
        assert claims is not None and winning is not None
        winners = [
            winner_of_class(claims, winning, c, evidence.size, evidence.padded).clamp(max=NO_WINNER).to(torch.uint8)
            for c in range(len(self.segmenter.classes))
        ]
        return probabilities, torch.stack(winners, 1)

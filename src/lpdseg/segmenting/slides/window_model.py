"""The model on the windows of a segment: their class probabilities, blended into one strip.

B windows, each w x w pixels; n channels (background last where the model has it); a strip spans W pixels.
"""

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from lpdseg.errors import DataError
from lpdseg.segmenting.memory import if_it_fits
from lpdseg.segmenting.segmenter import Segmenter


class WindowModel:
    """Computes windows, as many at once as fit in memory.

    A batch that does not fit is halved, for good. Halves may differ from the whole by rounding, for libraries
    choose their algorithms by the size of a batch; nothing else changes a result.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.most: int | None = None  # windows at once; None while nothing was too large

    def strip(
        self, pixels: UInt8[np.ndarray, "B w w 3"], offsets: tuple[int, ...], weights: Float32[np.ndarray, "w w"]
    ) -> Float32[np.ndarray, "n w W"]:
        """Σ weight · probability over the windows, at their places.

        **Arguments:**

        - `offsets`: x of each window in the strip, rising from 0.
        - `weights`: of a window's pixels.

        **Raises:** `DataError` where one window alone does not fit in memory.
        """
        side = pixels.shape[1]
        weight = torch.from_numpy(weights).to(self.segmenter.device)
        total: torch.Tensor | None = None
        first = 0
        while first < len(pixels):
            some = pixels[first : first + (self.most or len(pixels))]
            found = if_it_fits(self.probabilities, some)
            if found is None:
                if len(some) == 1:
                    raise DataError(
                        f"a window of {side} x {side} pixels does not fit in memory even alone; make --window "
                        "smaller"
                    )
                self.most = len(some) // 2
                continue
            if total is None:
                total = found.new_zeros(found.shape[1], side, offsets[-1] + side)
            for x, window in zip(offsets[first : first + len(some)], found, strict=True):
                total[:, :, x : x + side] += window * weight
            first += len(some)
        assert total is not None
        strip: Float32[np.ndarray, "n w W"] = total.cpu().numpy()
        return strip

    def probabilities(self, pixels: UInt8[np.ndarray, "B w w 3"]) -> Float[torch.Tensor, "B n w w"]:
        """Class probabilities of windows, all at once, on the segmenter's device."""
        images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            return self.segmenter.decide(self.segmenter.observe(images), images).probabilities.float()

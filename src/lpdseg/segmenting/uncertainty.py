"""How sure a segmentation is of each pixel: what a person gets.

n channels (background last), H x W pixels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from lpdseg.maps.uncertainty import gap_of_two_best, is_unsure, normalised_entropy, tempered


def meaning(temperature: float, unsure: float) -> dict[str, object]:
    """What the values of `Uncertainty.grey` mean, for a file's record."""
    return {
        "value": "255 * (1 - gap), gap of the two highest class probabilities: 0 is sure, 255 wholly unsure",
        "temperature": temperature,
        "unsure": unsure,
        "unsure_above": round(255 * (1 - unsure), 2),
    }


@dataclass(frozen=True, repr=False, eq=False)
class Uncertainty:
    """How sure the mask of one image is, see `lpdseg.maps.uncertainty` for the probabilities that are meant.

    - `unscaled`: these probabilities, as they make the mask; sum 1 over the channels.
    - `temperature`: found on validation (see `Calibration`); 1 where none was.
    - `below`: the gap below which a pixel is unsure, the setting `predict.unsure`.
    """

    unscaled: Float[np.ndarray, "n H W"]
    temperature: float
    below: float

    @cached_property
    def probabilities(self) -> Float[np.ndarray, "n H W"]:
        """The probabilities, rescaled by the temperature; everything else here is of these."""
        return tempered(torch.from_numpy(self.unscaled), self.temperature).numpy()

    @cached_property
    def entropy(self) -> Float[np.ndarray, "H W"]:
        """Divided by the logarithm of the number of channels, in 0..1: 1 is wholly unsure."""
        return normalised_entropy(torch.from_numpy(self.probabilities)).numpy()

    @cached_property
    def gap(self) -> Float[np.ndarray, "H W"]:
        """Between the two likeliest channels, in 0..1: 0 is wholly unsure."""
        return gap_of_two_best(torch.from_numpy(self.probabilities)).numpy()

    @property
    def unsure(self) -> Bool[np.ndarray, "H W"]:
        """Where the gap is below `below`."""
        return is_unsure(torch.from_numpy(self.gap), self.below).numpy()

    @property
    def grey(self) -> UInt8[np.ndarray, "H W"]:
        """255 · (1 − gap), rounded: what files hold, see `meaning`."""
        return as_grey(self.gap)


def as_grey(gap: Float[np.ndarray, "*pixels"]) -> UInt8[np.ndarray, "*pixels"]:
    """255 · (1 − gap), rounded."""
    grey: UInt8[np.ndarray, "*pixels"] = np.rint(255 * (1 - gap)).astype(np.uint8)
    return grey

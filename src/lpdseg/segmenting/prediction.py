"""What a segmenter makes of a batch, on its device.

B images, C classes, n = C or C + 1 channels (background last), H x W pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8, UInt16
from torch import Tensor

from lpdseg.errors import CheckpointError


@dataclass(frozen=True, repr=False)
class Prediction:
    """A batch, segmented.

    - `mask`: internal indices, background C.
    - `probabilities`: per pixel, sum 1 over the channels.
    - `unrefined`: the same before refinement, from which uncertainty is told.
    - `scores`: per class in [0, 1], before gate and refinement.
    - `gate`: the classes that could appear.
    - `prototypes`: per pixel the index in K of the winner among the prototypes of the mask's class, 65535 on
      background; None where they were not asked for, or no prototypes make the mask.
    """

    mask: UInt8[Tensor, "B H W"]
    probabilities: Float[Tensor, "B n H W"]
    unrefined: Float[Tensor, "B n H W"]
    scores: Float[Tensor, "B C H W"]
    gate: Bool[Tensor, "B C"]
    prototypes: UInt16[Tensor, "B H W"] | None = None

    def computed(self) -> "Prediction":
        """The same, once it is known that it holds numbers; waits for the device.

        **Raises:** `CheckpointError` as `check_computed`.
        """
        check_computed(self.probabilities.sum(dtype=torch.float32).cpu().numpy())
        return self


def check_computed(*values: Float32[np.ndarray, "..."]) -> None:
    """Refuses what a network computes of some images alone that is no number: its mask would be whichever class
    comes first.

    **Raises:** `CheckpointError`.
    """
    if not all(np.isfinite(one.sum()) for one in values):  # a sum, which is no number where one of them is none
        raise CheckpointError(
            "the network computes values that are no numbers of these images, so no mask of them means anything; "
            "use another checkpoint, or train again with a lower train.lr"
        )

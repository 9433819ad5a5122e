"""How sure the labels of a slide are, row by row, from the same sums that make them.

n channels; bands of h rows; W is the slide's width.
"""

import numpy as np
import torch
from jaxtyping import UInt8

from lpdseg.maps.uncertainty import gap_of_two_best, is_unsure, tempered
from lpdseg.segmenting.slides.blend import Band, column_blocks
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.segmenting.uncertainty import as_grey


class UnsureRows:
    """Writes 255 · (1 − gap) of each pixel, see `as_grey`, and counts what is unsure.

    0, wholly sure, where nothing was computed, and on glass that the tissue mask has found.

    **Arguments:**

    - `file`: gets the values.
    - `temperature`, `below`: see `lpdseg.segmenting.uncertainty.Uncertainty`.
    """

    def __init__(self, file: LabelFile, temperature: float, below: float) -> None:
        self.file, self._temperature, self._below = file, temperature, below
        self._tissue = self._unsure = 0

    @property
    def share(self) -> float | None:
        """Of tissue that is unsure, in 0..1; None where there is no tissue."""
        return self._unsure / self._tissue if self._tissue else None

    def close(self) -> None:
        """Waits for what is being written."""
        self.file.close()

    def append(self, band: Band, labels: UInt8[np.ndarray, "h W"], classes: int) -> None:
        """The next rows: sums of the probabilities before refinement, and the labels; `classes` is background."""
        grey = np.zeros(labels.shape, np.uint8)
        for block in column_blocks(band.columns, band.sums.shape[0] * len(labels)):
            weights, tissue = band.weights[:, block], labels[:, block] != classes
            known = weights > 0 if len(band.sums) > classes else tissue
            sums = band.sums[:, :, block]
            mean = torch.from_numpy(np.divide(sums, weights, where=known, out=np.ones_like(sums)))
            gap = gap_of_two_best(tempered(mean, self._temperature))
            np.copyto(grey[:, block], as_grey(gap.numpy()), where=known)
            self._tissue += int(tissue.sum())
            self._unsure += int((is_unsure(gap, self._below).numpy() & tissue).sum())
        self.file.append(grey)

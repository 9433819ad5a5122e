"""What decoding every patch of a data set once has shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.mask_values import MaskPixels
from lpdseg.data.patches import sides
from lpdseg.errors import DataError


@dataclass(frozen=True)
class SeenPatch:
    """What decoding one patch showed.

    `digest` stands for the pixels of an image that is not of one colour; `pixels` are those of its mask.
    """

    record: PatchRecord
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    image_error: DataError | None = None
    mask_size: tuple[int, int] | None = None
    pixels: MaskPixels | None = None
    mask_error: DataError | None = None

    @property
    def sizes(self) -> str:
        """Those of an image and a mask that differ; empty where they do not."""
        if self.size is None or self.mask_size in (None, self.size):
            return ""
        return f"image {sides(self.size)}, mask {sides(self.mask_size)}"


def pixels_of(seen: Sequence[SeenPatch], split: str) -> MaskPixels | None:
    """Of all masks of a split together; None where none could be read."""
    parts = [patch.pixels for patch in seen if patch.record.split == split and patch.pixels is not None]
    return MaskPixels.sum(parts) if parts else None


def label_table(manifest: Manifest, split: str) -> Int[np.ndarray, "patches C"]:
    """0 or 1 for each labelled patch of a split and each class."""
    rows = [record.labels for record in manifest.split(split) if record.labels is not None]
    return np.array(rows, np.int64).reshape(-1, len(manifest.classes))


def patches_alone(table: Int[np.ndarray, "patches C"]) -> Int[np.ndarray, " C"]:
    """How many patches have each class and no other."""
    counts: np.ndarray = table[table.sum(axis=1) == 1].sum(axis=0)
    return counts

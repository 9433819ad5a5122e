"""Whether image-level labels and masks of the same patch say the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from lpdseg.data.mask_values import MaskPixels
from lpdseg.tissue import TissueClasses

SPECK = 0.01
"""Share of a mask's counted pixels below which a class may be missing from the label, as a speck."""

CLEAR = 0.05
"""From this share on a class belongs in a label without doubt, as in the published data sets and `data tile`."""


@dataclass(frozen=True)
class Contradiction:
    """How a label and a mask differ.

    - `lacking`: classes of the label without a pixel.
    - `unlabelled`: classes of at least `SPECK` of the mask that the label lacks, with their shares.
    """

    lacking: tuple[str, ...]
    unlabelled: tuple[tuple[str, float], ...]

    @property
    def clear(self) -> bool:
        """Whether no rounding and no habit of labelling explains it."""
        return bool(self.lacking) or any(share >= CLEAR for _, share in self.unlabelled)

    def __str__(self) -> str:
        parts = [f"the mask lacks {', '.join(self.lacking)}"] if self.lacking else []
        named = ", ".join(f"{name} ({share:.0%})" for name, share in self.unlabelled)
        return "; ".join([*parts, *([f"the label lacks {named}"] if named else [])])


def shares(pixels: MaskPixels, classes: TissueClasses) -> list[float] | None:
    """The share of each class among the counted pixels of a mask; None where none counts."""
    counted = pixels.counts[: classes.channels]
    return (counted[: len(classes)] / counted.sum()).tolist() if counted.sum() else None


def compare(labels: Sequence[int], pixels: MaskPixels, classes: TissueClasses) -> Contradiction | None:
    """What is wrong between a label and the mask; None where nothing is, or the mask counts no pixel."""
    found = shares(pixels, classes)
    if found is None:
        return None
    each = list(zip(classes.names, labels, found, strict=True))
    # What is left out may hide a class of the label.
    hidden = pixels.counts[: classes.channels].sum() < pixels.counts.sum()
    lacking = tuple(name for name, label, share in each if label and not share and not hidden)
    unlabelled = tuple((name, share) for name, label, share in each if not label and share >= SPECK)
    return Contradiction(lacking, unlabelled) if lacking or unlabelled else None


def has_specks(labels: Sequence[int], pixels: MaskPixels, classes: TissueClasses) -> bool:
    """Whether the mask has a class that the label lacks, of too few pixels to matter."""
    found = shares(pixels, classes) or []
    return any(not label and 0 < share < SPECK for label, share in zip(labels, found, strict=False))

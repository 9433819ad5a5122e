"""Pictures of the training regions that a run keeps of its prototypes.

K prototypes in all, H x W pixels; pictures are h x w.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lpdseg.data.patches import read_patch
from lpdseg.errors import CheckpointError
from lpdseg.files import as_on_disk
from lpdseg.insight.atlas_patches import TypicalPatch, made_small
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.training.regions import FILE, Kept, Region, of_one_class, winners_of_class

_NARROWEST, _AROUND = 112, 1.25
"""A picture shows this many pixels at least, and this many times the longer side of the box."""
_WHOLE = 0.9
"""No box is drawn where it holds this share of the picture."""


@dataclass(frozen=True)
class RegionPictures:
    """The pictures of every prototype by index, and how many of how many images were not found."""

    shown: dict[int, tuple[TypicalPatch, ...]]
    missing: int
    wanted: int


def show_regions(segmenter: Segmenter, kept: Kept, roots: Sequence[Path], count: int, side: int) -> RegionPictures:
    """The first `count` regions of every prototype, each as the segmenter sees it now.

    **Arguments:**

    - `roots`: folders that the images are looked for in, the first that has one.
    - `side`: of a picture, at most.

    **Raises:** `CheckpointError` for the regions of another run; `DataError` for an image that cannot be read.
    """
    if len(kept.prototypes) != len(segmenter.prototype_names):
        raise CheckpointError(
            f"{FILE} names {len(kept.prototypes)} prototypes and the run has {len(segmenter.prototype_names)}; "
            "delete the file to do without it"
        )
    plain, missing, wanted = of_one_class(segmenter), 0, 0
    shown: dict[int, tuple[TypicalPatch, ...]] = {}
    for k, one in enumerate(kept.prototypes):
        pictures = []
        for region in one.regions[:count]:
            path, wanted = _found(region.path, roots), wanted + 1
            if path is None:
                missing += 1
                continue
            image = read_patch(path)
            winners, values = winners_of_class(plain, image, segmenter.classes.names.index(one.name))
            pictures.append(_picture(region, image, values[k], winners == k, side))
        shown[k] = tuple(pictures)
    return RegionPictures(shown, missing, wanted)


def _found(name: str, roots: Sequence[Path]) -> Path | None:
    paths = (as_on_disk(root / name) for root in roots)
    return next((path for path in paths if path.is_file()), None)


def _picture(
    region: Region,
    image: UInt8[np.ndarray, "H W 3"],
    value: Float[np.ndarray, "H W"],
    won: Bool[np.ndarray, "H W"],
    side: int,
) -> TypicalPatch:
    """The region and what is around it, with its box."""
    x, y, width, height = region.box
    window = max(_NARROWEST, round(_AROUND * max(width, height)))
    left, right = _span(x + width / 2, window, image.shape[1])
    top, bottom = _span(y + height / 2, window, image.shape[0])
    cut = np.s_[top:bottom, left:right]
    small, heat, inside = made_small(image[cut], value[cut], won[cut], side)
    box = None
    if width * height < _WHOLE * (right - left) * (bottom - top):
        scale = small.shape[1] / (right - left)
        corner = (round((x - left) * scale), round((y - top) * scale))
        box = (*corner, round(width * scale), round(height * scale))
    name = Path(region.path).name
    return TypicalPatch(name, region.patient, region.strength, region.share, small, heat, inside, box)


def _span(middle: float, length: int, size: int) -> tuple[int, int]:
    """`length` pixels around the middle, moved to lie within `size`, as far as there are so many."""
    first = max(0, min(round(middle - length / 2), size - length))
    return first, min(first + length, size)

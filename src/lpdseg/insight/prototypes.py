"""The prototypes of one class, side by side: where each is active, how often it wins, and on which sub-types.

k prototypes of the class, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lpdseg.data.patches import read_mask, read_patch
from lpdseg.data.synthetic import SUBTYPES
from lpdseg.evaluation.worst import PatchFigures
from lpdseg.insight.evidence import (
    class_prototypes,
    effective_number,
    is_dense,
    live_prototypes,
    prototype_values,
    winning_shares,
)
from lpdseg.insight.pictures import heat_palette, indexed_uri, number_palette, quantise, rgb_uri
from lpdseg.insight.sample import Patch
from lpdseg.insight.subtypes import NO_SUBTYPE, read_subtypes
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import TissueClasses

_SIDE = 128
_MOST_PATCHES = 60
_NOWHERE = 255


@dataclass(frozen=True)
class PrototypeRow:
    """One patch: the image, who wins where (data URIs), and each prototype's map with its winning share in 0..1."""

    reason: str
    file: str
    image: str
    winners: str
    maps: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class SubtypeRow:
    """One sub-type of the class: its pixels seen, and the share of them that each prototype wins."""

    name: str
    pixels: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class PrototypeView:
    """The prototypes of one class.

    - `numbers`: of its prototypes that are not retired, and `retired` of those that are: from 1 within the class.
    - `dense`: whether these prototypes make the mask; maps are then of their probabilities, else of cosines.
    - `shares`: of each of `numbers`, over the class's true pixels in `patches` of the `showing` that have any.
    - `effective`: see `effective_number`.
    - `subtypes`: for generated data; otherwise empty.
    """

    name: str
    rows: tuple[PrototypeRow, ...]
    numbers: tuple[int, ...]
    retired: tuple[int, ...]
    dense: bool
    shares: tuple[float, ...]
    patches: int
    showing: int
    effective: float
    subtypes: tuple[SubtypeRow, ...]


def view_prototypes(
    segmenter: Segmenter,
    figures: Sequence[PatchFigures],
    choices: Sequence[tuple[str, Patch]],
    own_classes: TissueClasses,
    most_rows: int = 3,
) -> PrototypeView:
    """Looks at the class with the most true pixels of a split, on patches at even places of those that show it.

    **Arguments:**

    - `figures`: of each patch of the split that has a mask; there is one at least.
    - `choices`: patches and why they were chosen: rows are of those that show the class best.
    - `own_classes`: of the masks.

    **Raises:** `DataError` where a file cannot be read.
    """
    classes = segmenter.classes
    index = int(sum(one.confusion.sum(1) for one in figures)[: len(classes)].argmax())
    every = class_prototypes(segmenter, index)
    live = live_prototypes(segmenter)[every]
    own = every[live]
    showing = [one.record for one in figures if one.confusion[index].any()]
    places = np.linspace(0, len(showing) - 1, min(_MOST_PATCHES, len(showing))).round().astype(int).tolist()
    winners: list[Int[np.ndarray, " P"]] = []
    subtypes: list[Int[np.ndarray, " P"]] = []
    for record in (showing[place] for place in places):
        assert record.mask is not None  # a pixel of it counts
        image = read_patch(record.path)
        inside = read_mask(record.mask, own_classes, image.shape[:2]) == index
        winners.append(prototype_values(segmenter, image)[own].argmax(0)[inside])
        subtypes.append(read_subtypes(record, classes, inside.shape)[inside].astype(np.int64))
    won = np.concatenate(winners) if winners else np.zeros(0, np.int64)
    faces = np.concatenate(subtypes) if subtypes else np.zeros(0, np.int64)
    shares = winning_shares(won, len(own))
    shown = sorted(choices, key=lambda choice: -choice[1].shares(len(classes))[index])[:most_rows]
    return PrototypeView(
        classes.names[index],
        tuple(_row(segmenter, *choice, index, own) for choice in shown if (choice[1].truth == index).any()),
        tuple((np.flatnonzero(live) + 1).tolist()),
        tuple((np.flatnonzero(~live) + 1).tolist()),
        is_dense(segmenter),
        tuple(shares.tolist()),
        len(places),
        len(showing),
        effective_number(shares.tolist()),
        tuple(_by_subtype(won, faces, len(own))),
    )


def _row(segmenter: Segmenter, reason: str, patch: Patch, index: int, own: Int[np.ndarray, " k"]) -> PrototypeRow:
    values = prototype_values(segmenter, patch.image)[own]
    inside = patch.truth == index
    best = values.argmax(0)
    shares = winning_shares(best[inside], len(own)).tolist()
    # One range for all prototypes of the class: maps can be compared with one another, and a weak one looks weak.
    unit = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
    palette = number_palette()
    palette[_NOWHERE] = (255, 255, 255)
    where = np.where(inside, best % 250, _NOWHERE).astype(np.uint8)
    return PrototypeRow(
        reason,
        patch.record.path.name,
        rgb_uri(patch.image, _SIDE),
        indexed_uri(where, palette, _SIDE),
        tuple((_map(one), share) for one, share in zip(unit, shares, strict=True)),
    )


def _map(values: Float[np.ndarray, "H W"]) -> str:
    return indexed_uri(quantise(values), heat_palette(), _SIDE)


def _by_subtype(won: Int[np.ndarray, " P"], faces: Int[np.ndarray, " P"], count: int) -> list[SubtypeRow]:
    present = [face for face in np.unique(faces).tolist() if face != NO_SUBTYPE]
    return [
        SubtypeRow(
            SUBTYPES[face].name,
            int((faces == face).sum()),
            tuple(winning_shares(won[faces == face], count).tolist()),
        )
        for face in present
    ]

"""The patches that show a prototype best: which ones, and the pictures of them.

N patches, K prototypes in all, H x W pixels; pictures are h x w.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from lpdseg.data.patches import read_mask, read_patch
from lpdseg.data.records import PatchRecord
from lpdseg.insight.evidence import class_prototypes, predicted_mask, prototype_values, prototypes_of
from lpdseg.insight.survey import PatchUse
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import TissueClasses
from lpdseg.training.regions import turns

_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class TypicalPatch:
    """A patch, small, with one prototype's map.

    - `value`: of the prototype, see `lpdseg.insight.evidence.PrototypeMaps`.
    - `won`: the class's pixels at which it is the strongest of its class.
    - `strength`: mean value over them, at full size.
    - `share`: of the patch that is won; of a training region both are those of its largest connected area.
    - `box`: of that area: x, y, width and height in the picture; None where it has none.
    """

    file: str
    patient: str
    strength: float
    share: float
    image: UInt8[np.ndarray, "h w 3"]
    value: Float[np.ndarray, "h w"]
    won: Bool[np.ndarray, "h w"]
    box: tuple[int, int, int, int] | None = None

    def framed(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the box: dark, and light inside, so that it is seen on any tissue."""
        picture = Image.fromarray(self.image)
        if self.box is not None:
            x, y, width, height = self.box
            for inset, colour in ((0, _DARK), (1, _LIGHT)):
                corners = (x + inset, y + inset, x + width - 1 - inset, y + height - 1 - inset)
                if corners[2] >= corners[0] and corners[3] >= corners[1]:
                    ImageDraw.Draw(picture).rectangle(corners, outline=colour)
        return np.asarray(picture)


def choose_typical(patches: Sequence[PatchUse], prototype: int, count: int) -> list[PatchUse]:
    """Patches by the prototype's mean value over the pixels that it wins, highest first, one per patient.

    Patches of which it wins less than it does on average, where it wins anything, come last, by how much that is: a
    few strong pixels show nothing. A patient comes again only when all others have come as often.
    """
    candidates = [patch for patch in patches if patch.won[prototype]]
    if not candidates:
        return []
    usual = np.mean([patch.won[prototype] for patch in candidates])

    def rank(patch: PatchUse) -> tuple[bool, float]:
        little = bool(patch.won[prototype] < usual)
        return little, -float(patch.won[prototype] if little else patch.strength[prototype])

    by_rank = sorted(candidates, key=rank)
    turn = turns([patch.record.patient for patch in by_rank])
    order = sorted((rank(patch)[0], turn[place], place) for place, patch in enumerate(by_rank))
    return [by_rank[place] for _, _, place in order[:count]]


def show_patches(
    segmenter: Segmenter, classes: TissueClasses, chosen: dict[int, list[PatchUse]], side: int
) -> dict[int, tuple[TypicalPatch, ...]]:
    """Pictures of the patches chosen for each prototype, each patch goes through the network once.

    Masks are read by `classes`, the data's own; where there is none the predicted one stands for it.
    """
    wanted: dict[PatchRecord, list[tuple[int, int]]] = {}
    uses: dict[tuple[int, int], PatchUse] = {}
    for prototype, patches in chosen.items():
        for place, patch in enumerate(patches):
            wanted.setdefault(patch.record, []).append((prototype, place))
            uses[prototype, place] = patch
    made: dict[tuple[int, int], TypicalPatch] = {}
    for record, places in wanted.items():
        image = read_patch(record.path)
        truth = (
            predicted_mask(segmenter, image)
            if record.mask is None
            else read_mask(record.mask, classes, image.shape[:2])
        )
        values = prototype_values(segmenter, image)
        for prototype, place in places:
            made[prototype, place] = _typical(
                segmenter, uses[prototype, place], prototype, image, truth, values, side
            )
    return {
        prototype: tuple(made[prototype, place] for place in range(len(patches)))
        for prototype, patches in chosen.items()
    }


def _typical(
    segmenter: Segmenter,
    use: PatchUse,
    prototype: int,
    image: UInt8[np.ndarray, "H W 3"],
    truth: UInt8[np.ndarray, "H W"],
    values: Float[np.ndarray, "K H W"],
    side: int,
) -> TypicalPatch:
    index = int(prototypes_of(segmenter).bank.class_of[prototype])
    own = class_prototypes(segmenter, index)
    won = (truth == index) & (own[values[own].argmax(0)] == prototype)
    return TypicalPatch(
        use.record.path.name,
        use.record.patient,
        float(use.strength[prototype]),
        float(won.mean()),
        *made_small(image, values[prototype], won, side),
    )


def made_small(
    image: UInt8[np.ndarray, "H W 3"],
    value: Float[np.ndarray, "H W"],
    won: Bool[np.ndarray, "H W"],
    side: int,
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The three layers with sides of at most `side` pixels."""
    height, width = won.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return (
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)),
        np.asarray(Image.fromarray(value).resize(size, Image.Resampling.BILINEAR)),
        np.asarray(Image.fromarray(won).resize(size, Image.Resampling.NEAREST)),
    )

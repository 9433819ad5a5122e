"""Parts that the report of a run and that of several runs have in common: worst patches, atlas, licences.

H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.checkpoint import has_checkpoint
from lpdseg.insight.atlas import make_atlas
from lpdseg.insight.atlas_page import heat_of, per_cent
from lpdseg.insight.evidence import has_prototypes, is_dense
from lpdseg.insight.figures import css_colour
from lpdseg.insight.licences import Licensed, of_code, of_run
from lpdseg.insight.pictures import indexed_uri, photo_uri, rgb_uri
from lpdseg.insight.sample import Patch, Sample
from lpdseg.pictures.masks import class_palette
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.sharing.folder import is_bundle
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.training.regions import read_regions

_WORST = 6
_REGIONS = 3
_WRONG = (200, 30, 45)


def worst_patches(
    samples: Sequence[tuple[str, Sample]], classes: TissueClasses, split: str, count: int = _WORST
) -> dict[str, Any]:
    """The patches that runs are worst at and the median one, each with what every run makes of it.

    They are ranked by pixel accuracy, the mean over runs, among all that were looked at.

    **Arguments:**

    - `samples`: each run's name and its sample, of the same patches in the same order.
    """
    several = len(samples) > 1
    looked_at = [sample.patches for _, sample in samples]
    accuracy = np.mean([[patch.accuracy for patch in patches] for patches in looked_at], axis=0)
    order = np.argsort(accuracy, kind="stable").tolist()
    chosen = {place: f"worst {rank + 1}" for rank, place in enumerate(order[:count])}
    chosen.setdefault(order[len(order) // 2], "median")
    rows = [
        _row(f"{title.capitalize()}: {100 * accuracy[place]:.1f} % of pixels right", classes,
             [(name, sample.patches[place]) for name, sample in samples])
        for place, title in chosen.items()
    ]  # fmt: skip
    mean = ", the mean over runs" if several else ""
    errors = "" if several else " Wrong pixels are red in the last picture."
    told = (
        f"Of {len(order)} {split} patches those of the lowest pixel accuracy{mean}: the worst first, then the "
        f"median.{errors}"
    )
    return {"rows": rows, "told": told}


def _row(title: str, classes: TissueClasses, shown: Sequence[tuple[str, Patch]]) -> dict[str, Any]:
    palette, first = class_palette(classes), shown[0][1]
    tiles = [
        _tile("image", rgb_uri(first.image), f"H&E patch {first.record.path.name}", False),
        _tile("truth", indexed_uri(first.truth, palette), "true mask", True),
    ]
    for name, patch in shown:
        right = f"{name}: {100 * patch.accuracy:.0f} %" if len(shown) > 1 else "predicted"
        tiles.append(_tile(right, indexed_uri(patch.mask, palette), f"predicted mask, {right}", True))
    if len(shown) == 1:
        tiles.append(_tile("errors", rgb_uri(_errors(first)), "the image in grey, wrong pixels red", False))
    return {"title": title, "file": first.record.path.name, "patient": first.record.patient, "tiles": tiles}


def _tile(heading: str, uri: str, said: str, crisp: bool) -> dict[str, Any]:
    return {"heading": heading, "uri": uri, "said": said, "crisp": crisp}


def _errors(patch: Patch) -> np.ndarray:
    grey = patch.image.mean(2, keepdims=True).repeat(3, 2)
    wrong = (patch.truth != patch.mask) & (patch.truth != IGNORE)
    mixed = np.where(wrong[..., None], 0.3 * grey + 0.7 * np.array(_WRONG), 40 + 0.84 * grey)
    pixels: np.ndarray = mixed.round().astype(np.uint8)
    return pixels


def atlas_plates(run: Path, segmenter: Segmenter, roots: Sequence[Path]) -> list[dict[str, Any]] | None:
    """The prototypes that make the masks of a run, by the training regions that it keeps; None where it keeps none.

    **Arguments:**

    - `roots`: folders that the training images are looked for in where they are not in their own any more.
    """
    kept = read_regions(run) if has_prototypes(segmenter) and is_dense(segmenter) else None
    if kept is None:
        return None
    if not kept.root.is_dir():
        kept = replace(kept, root=next((root for root in roots if root.is_dir()), kept.root))
    atlas = make_atlas(segmenter, None, "train", kept=kept, patches=_REGIONS)
    return [
        {
            "name": plate.name,
            "colour": css_colour(plate.colour),
            "retired": plate.retired,
            "cards": [
                {
                    "title": card.title,
                    "share": None if card.trained is None else per_cent(card.trained, 0),
                    "tiles": [
                        {
                            "image": photo_uri(patch.framed()),
                            "heat": photo_uri(heat_of(patch, plate)),
                            "said": f"training patch {patch.file}, typical of {card.title}",
                        }
                        for patch in card.patches
                    ],
                }
                for card in plate.cards
            ],
        }
        for plate in atlas.plates
    ]


def licences(runs: Sequence[Path]) -> list[Licensed]:
    """Of the code, and of the weights that the runs started from, each once."""
    started = [entry for run in runs if has_checkpoint(run, "last") or is_bundle(run) for entry in of_run(run)]
    return list(dict.fromkeys([*of_code(), *started]))

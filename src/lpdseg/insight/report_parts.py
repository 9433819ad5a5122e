"""Parts that the report of a run and that of several runs have in common: worst patches, atlas, licences.

H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.checkpoint import has_checkpoint
from lpdseg.choices import Gate
from lpdseg.data.records import Manifest
from lpdseg.evaluation.split import labelled_batches
from lpdseg.evaluation.worst import PatchFigures, patch_figures, worst_together
from lpdseg.insight.atlas import make_atlas
from lpdseg.insight.atlas_page import heat_of, per_cent
from lpdseg.insight.evidence import has_prototypes, is_dense
from lpdseg.insight.figures import css_colour
from lpdseg.insight.licences import Licensed, of_code, of_run
from lpdseg.insight.pictures import indexed_uri, photo_uri, rgb_uri
from lpdseg.insight.sample import Patch, segmented
from lpdseg.pictures.masks import class_palette
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.sharing.folder import is_bundle
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.training.regions import read_regions

GATE: Gate = "predicted"
"""Of the figures that a report puts first."""
_WORST = 6
_REGIONS = 3
_WRONG = (200, 30, 45)


@dataclass(frozen=True)
class Looked:
    """A run and what is known of each patch of the split under the gate that its headline has.

    - `name`: nothing where there is one run.
    """

    name: str
    segmenter: Segmenter
    figures: Sequence[PatchFigures]


def look_at_each(segmenter: Segmenter, data: Manifest, split: str) -> list[PatchFigures]:
    """The figures of every patch of a split that has a mask, as `evaluate` tells them.

    **Raises:** `DataError` where a file cannot be read.
    """
    records = segmenter.learnt.leave_out(data, split)[0].with_masks(split)
    batches = labelled_batches(records, data.classes, segmenter.settings.batch)
    return patch_figures(segmenter.with_settings(gate=GATE), records, batches)


def worst_patches(runs: Sequence[Looked], data: Manifest, split: str, count: int = _WORST) -> dict[str, Any]:
    """The patches of a split that runs are worst at and the median one, each with what every run makes of it.

    They come in the order of `evaluate --worst` and of the viewer; of several runs by the mean of their errors.

    **Raises:** `DataError` where a file cannot be read.
    """
    order, classes = worst_together([run.figures for run in runs]), runs[0].segmenter.classes
    told = f"Of all {len(order):,} {split} patches with a mask those of the lowest pixel accuracy"
    told += f"{', the mean over runs' if len(runs) > 1 else ''}, gate {GATE}: the worst first, then the median."
    told += " lpdseg evaluate --worst and the viewer list the others."
    if len(runs) == 1:
        told += " Wrong pixels are red in the last picture."
    if not order:
        return {"rows": [], "told": f"No {split} patch has a mask in which a pixel counts."}
    chosen = {place: f"Worst {place + 1}" for place in range(min(count, len(order)))}
    chosen.setdefault(len(order) // 2, "Median")
    records = [order[place][0].record for place in chosen]
    shown = [segmented(run.segmenter.with_settings(gate=GATE), records, data.classes, split) for run in runs]
    rows = []
    for (place, title), *patches in zip(chosen.items(), *shown, strict=True):
        right = 100 * (1 - np.mean([one.error for one in order[place]]))
        named = [(run.name, patch) for run, patch in zip(runs, patches, strict=True)]
        rows.append(_row(f"{title}: {right:.1f} % of pixels right", classes, named))
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

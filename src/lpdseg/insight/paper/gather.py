"""What the grid of patches shows: which patches, and what each run makes of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from lpdseg.data.mask_values import MaskPixels, misread
from lpdseg.data.patches import read_mask, read_patch
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.errors import DataError
from lpdseg.evaluation.split import LabelledBatch, Progress, labelled_batches
from lpdseg.evaluation.worst import patch_figures
from lpdseg.insight.paper.grid import Group, Row, Tile, marks
from lpdseg.insight.ranks import rank, spread
from lpdseg.insight.sample import draw
from lpdseg.pictures.masks import LEFT_OUT, colour_mask
from lpdseg.segmenting.prototype_classes import check_prototypes, prototype_classes
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import IGNORE, Colour, TissueClasses


@dataclass(frozen=True)
class Gathered:
    """All that `grid_figure` draws, and a sentence that says what is shown."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    legend: tuple[tuple[str, Colour], ...]
    told: str


def gather_grid(
    runs: Sequence[tuple[str, Segmenter]],
    data: Manifest,
    split: str,
    *,
    count: int,
    seed: int = 0,
    files: Sequence[str] = (),
    prototypes: bool = False,
    progress: Progress | None = None,
) -> Gathered:
    """Patches and what runs of the same classes make of them.

    **Arguments:**

    - `count`: patches, at even ranks from the first run's best to its worst of all that have a mask (see
      `lpdseg.insight.ranks`); drawn with `seed` where none has one.
    - `files`: these patches instead, by name, or by path below the data's folder.
    - `prototypes`: also which prototype won each pixel, of runs whose masks are made of them.
    - `progress`: told how many patches are ranked.

    **Raises:** `DataError` for a file that the split does not have once, where one cannot be read, and where values
    of masks must mean something else; `SettingsError` where prototypes are asked for and no run has any that make
    the mask.
    """
    showing = [prototypes and segmenter.winning is not None for _, segmenter in runs]
    if prototypes and not any(showing):
        check_prototypes(runs[0][1])
    named, chosen = _choose(runs, data, split, count, seed, files, progress)
    truth = any(record.mask is not None for _, record in chosen)
    classes = runs[0][1].classes
    rows = tuple(_row(label, record, runs, showing, data.classes, truth) for label, record in chosen)
    several = len(runs) > 1
    groups = [Group("", ("image", "truth") if truth else ("image",))] + [
        Group(name if several else "", ("mask", "prototypes") if shown else ("mask",))
        for (name, _), shown in zip(runs, showing, strict=True)
    ]
    colours = (*classes.colours, classes.background_colour)
    legend = list(zip(classes.in_full, colours, strict=False))
    if truth and any((row.tiles[1].pixels == LEFT_OUT).all(-1).any() for row in rows):
        legend.append(("unknown", LEFT_OUT))
    made = "; ".join(
        f"{f'{name}: ' if several else ''}gate {one.settings.gate}, refinement {one.settings.refine}"
        for name, one in runs
    )
    told = f"{named}; {made}." + (" Per cent: pixels that are right." if truth else "")
    if any(showing):
        told += " Prototypes: which of its class won each pixel, in shades of the class, by number or name."
    return Gathered(tuple(groups), rows, tuple(legend), told)


def _choose(
    runs: Sequence[tuple[str, Segmenter]],
    data: Manifest,
    split: str,
    count: int,
    seed: int,
    files: Sequence[str],
    progress: Progress | None,
) -> tuple[str, list[tuple[str, PatchRecord]]]:
    """Words on which patches these are, and each with its label."""
    records = data.split(split)
    if files:
        return f"{split} patches {', '.join(files)}", [("", _named(name, records, data)) for name in files]
    if not data.with_masks(split):
        drawn = draw(records, count, seed)
        return f"{len(drawn)} of {len(records)} {split} patches, drawn at random (seed {seed})", [
            ("", record) for record in drawn
        ]
    first, segmenter = runs[0]
    usable = segmenter.learnt.leave_out(data, split)[0].with_masks(split)
    held: list[MaskPixels] = []
    batches = _noted(labelled_batches(usable, data.classes, segmenter.settings.batch), held)
    figures = patch_figures(segmenter, usable, batches, progress=progress)
    if held and (fault := misread(data.classes, MaskPixels.sum(held), split)) is not None:
        raise DataError(fault)
    ranked = rank(figures, count, split)
    choices = spread(ranked.patches, count)
    mixed, of = (" with two or more classes" if ranked.mixed else ""), (f" of {first}" if len(runs) > 1 else "")
    pool = f"{len(choices)} of {len(ranked.patches)} {split} patches{mixed}"
    told = f"{pool} at even ranks of the pixel accuracy{of}"
    return told, [(reason, one.record) for reason, one in choices]


def _noted(batches: Iterable[LabelledBatch], held: list[MaskPixels]) -> Iterator[LabelledBatch]:
    """As they come, with what their masks hold added to `held`."""
    for batch in batches:
        held.extend(batch.pixels)
        yield batch


def _named(name: str, records: Sequence[PatchRecord], data: Manifest) -> PatchRecord:
    found = [one for one in records if name in (one.path.name, path_below(one.path, data.root))]
    if len(found) != 1:
        how = "none" if not found else f"{len(found)}"
        raise DataError(f"{how} of the {records[0].split} patches of {data.source} is called {name!r}; name one")
    return found[0]


def _row(
    label: str,
    record: PatchRecord,
    runs: Sequence[tuple[str, Segmenter]],
    showing: Sequence[bool],
    own: TissueClasses,
    with_truth: bool,
) -> Row:
    image, classes = read_patch(record.path), runs[0][1].classes
    truth = None if record.mask is None else read_mask(record.mask, own, image.shape[:2])
    tiles = [Tile(image)]
    if with_truth:
        shown = np.full(image.shape[:2], IGNORE, np.uint8) if truth is None else truth
        tiles.append(Tile(colour_mask(shown, classes)))
    for (_, segmenter), shown_here in zip(runs, showing, strict=True):
        result = segmenter.segment(image)
        mask = segmenter.classes.to_internal()[result.mask]
        tiles.append(Tile(colour_mask(mask, classes), _right(mask, truth)))
        if shown_here:
            assert result.prototypes is not None
            areas = result.prototypes.clip(max=IGNORE).astype(np.uint8)
            names = [name for _, name in segmenter.prototype_paths]
            tiles.append(Tile(prototype_classes(segmenter).palette()[areas], marks=marks(areas, names)))
    return Row(label, tuple(tiles), record.mpp)


def _right(mask: UInt8[np.ndarray, "H W"], truth: UInt8[np.ndarray, "H W"] | None) -> str:
    counted = None if truth is None else truth != IGNORE
    if truth is None or counted is None or not counted.any():
        return ""
    return f"{100 * (mask == truth)[counted].mean():.0f} %"

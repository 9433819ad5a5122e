"""One slide: strips of an engine → labels, and probabilities where they are wanted, row by row.

n channels; bands of h rows; W is the slide's width.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from lpdseg.segmenting.slides.blend import Band, Blender, column_blocks
from lpdseg.segmenting.slides.engine import Engine, Job, Strip
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.segmenting.slides.meter import Meter, Pace
from lpdseg.segmenting.slides.rows import RowBlocks
from lpdseg.segmenting.slides.unsure import UnsureRows
from lpdseg.slides.tissue_mask import TissueMask

_STORED_ROWS = 512
"""As high as the chunks of `lpdseg.export.ome_zarr`, so that none is written twice."""


@runtime_checkable
class RowStore(Protocol):
    """Takes rows of probabilities; see `lpdseg.export.ome_zarr.ProbabilityStore`."""

    def write_rows(self, top: int, probabilities: UInt8[np.ndarray, "n h W"]) -> None:
        """Rows from `top` on; 255 stands for 1."""
        ...


def stream_labels(
    engine: Engine,
    job: Job,
    size: tuple[int, int],
    labels: LabelFile,
    *,
    classes: int,
    background: bool,
    tissue: TissueMask | None = None,
    store: RowStore | None = None,
    prototypes: LabelFile | None = None,
    unsure: UnsureRows | None = None,
    progress: Callable[[Pace], None] | None = None,
) -> Pace:
    """Computes a slide.

    What holds no window has the label `classes`, and the probability 1 of background where there is such a channel.

    **Arguments:**

    - `size`: (W, H) of the slide at the model's resolution.
    - `labels`: gets internal class indices; `classes` stands for background. It is closed, as the others are.
    - `classes`, `background`: how many channels are classes, and whether another follows that is background.
    - `tissue`: gives glass the label of background, pixel by pixel, where the model knows none.
    - `store`: gets probabilities.
    - `prototypes`: gets the winners among the prototypes of the label's class, where the job asks for them.
    - `unsure`: gets how sure the labels are; of refined ones the job must ask for what they were before.
    - `progress`: told after each segment.

    **Returns:** the pace of the whole slide.

    **Raises:** `DataError` where the slide cannot be read, or a window does not fit in memory; `OSError` where the
    disk is full.
    """
    meter = Meter(sum(len(segment.lefts) for segment in job.segments))

    def counted(strips: Iterator[Strip]) -> Iterator[Strip]:
        for number, strip in enumerate(strips):
            if number == 0:
                meter.begin(strip.busy)  # before, it may have been the turn of another slide
            yield strip
            pace = meter.add(len(strip.segment.lefts), strip.waited, strip.busy)
            if progress is not None:
                progress(pace)

    kept = None if store is None else RowBlocks(store.write_rows, _STORED_ROWS, size[1])
    channels = classes + background
    blended = 2 * channels if job.unrefined else channels
    blender = Blender(size, blended, job.weights, classes if job.prototypes else 0)
    with ExitStack() as stack:  # nothing is computed or written any more once a slide has failed
        for taker in (labels, prototypes, unsure, kept):
            if taker is not None:
                stack.enter_context(closing(taker))
        strips = stack.enter_context(closing(engine.strips(job)))
        for whole in blender.bands(counted(strips)):
            band = replace(whole, sums=whole.sums[:channels])
            found = band_labels(band, classes)
            if tissue is not None:
                for block in band.columns:
                    found[:, block][~tissue_part(tissue, band.y, len(found), block)] = classes
            labels.append(found)
            if prototypes is not None:
                prototypes.append(band_prototypes(band, found, prototypes.background))
            if unsure is not None:
                unsure.append(replace(whole, sums=whole.sums[-channels:]), found, classes)
            if kept is not None:
                kept.append(band_probabilities(band, background))
    return meter.pace()


def band_labels(band: Band, classes: int) -> UInt8[np.ndarray, "h W"]:
    """The likeliest channel of each pixel, the first of equals; `classes` where nothing was computed."""
    height, width = band.weights.shape
    labels = np.full((height, width), classes, np.uint8)
    for block in column_blocks(band.columns, height):
        np.copyto(labels[:, block], first_highest(band.sums[:, :, block]), where=band.weights[:, block] > 0)
    return labels


def first_highest(sums: Float32[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "h w"]:
    """The same as `lpdseg.maps.labelling.likeliest`, four times as fast: it decides how fast a slide can go."""
    highest, first = sums[0].copy(), np.zeros(sums.shape[1:], np.uint8)
    for channel, values in enumerate(sums[1:], start=1):
        higher = (values > highest).view(np.uint8)
        np.maximum(first, np.multiply(higher, channel, out=higher), out=first)
        np.maximum(highest, values, out=highest)
    first[np.isnan(highest)] = len(sums) - 1
    return first


def band_prototypes(band: Band, labels: UInt8[np.ndarray, "h W"], background: int) -> UInt8[np.ndarray, "h W"]:
    """The prototype that wins each pixel among those of its label's class; `background` where there is none."""
    assert band.winners is not None
    won = np.full(labels.shape, background, np.uint8)
    for block in column_blocks(band.columns, len(labels)):
        for c, winners in enumerate(band.winners[:, :, block]):
            np.copyto(won[:, block], winners, where=labels[:, block] == c)
    return np.minimum(won, background, out=won)  # classes without prototypes have `NO_WINNER`


def band_probabilities(band: Band, background: bool) -> UInt8[np.ndarray, "n h W"]:
    """Probabilities, 255 for 1; where nothing was computed 0, or 1 of the last channel where that is background."""
    channels, height, width = band.sums.shape
    rows = np.zeros((channels, height, width), np.uint8)
    if background:
        rows[-1] = 255
    for block in column_blocks(band.columns, height * channels):
        weights = band.weights[:, block]
        found = weights > 0
        mean = band.sums[:, :, block] / np.where(found, weights, 1)
        mean *= 255
        np.copyto(rows[:, :, block], np.rint(mean, out=mean), casting="unsafe", where=found)
    return rows


def tissue_part(tissue: TissueMask, y: int, rows: int, columns: slice) -> Bool[np.ndarray, "h w"]:
    """Which pixels of the slide, from row `y` on, the mask takes for tissue: by its pixel around their centres."""
    height_of_mask, width_of_mask = tissue.found.shape
    down = ((np.arange(y, y + rows) + 0.5) / tissue.scale[1]).astype(np.intp).clip(max=height_of_mask - 1)
    places = np.arange(columns.start, columns.stop) + 0.5
    across = (places / tissue.scale[0]).astype(np.intp).clip(max=width_of_mask - 1)
    shown: Bool[np.ndarray, "h w"] = tissue.found[np.ix_(down, across)]
    return shown

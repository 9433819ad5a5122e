"""An item as a run sees it, field by field: squares of its grid, each computed when somebody looks at it.

B windows, each h x w pixels; C classes, n channels (background last where the model has it); a grid has W x H
pixels. Places are pixels of the grid, x to the right and y down.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, UInt8, UInt16
from torch import Tensor

from lpdseg.errors import SettingsError
from lpdseg.maps.fuse import fuse_scales
from lpdseg.maps.uncertainty import tempered
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.segmenting.loading import trained_on
from lpdseg.segmenting.prediction import check_computed
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.segmenting.slides.stream import tissue_part
from lpdseg.segmenting.slides.window_model import NO_WINNER, WindowModel
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.grid import Grid
from lpdseg.slides.mpp import resolve_mpp
from lpdseg.slides.slide import Mpp, Slide
from lpdseg.slides.tissue_mask import TissueMask, find_tissue
from lpdseg.view.items import Item
from lpdseg.view.readings import Readings
from lpdseg.workflows.slides.options import SlideOptions
from lpdseg.workflows.slides.wanted import resolve_windows

SIDE = 512
"""Of a field of a slide, in pixels of the grid. A patch is one field."""

Opener = Callable[[], AbstractContextManager[Slide]]


@dataclass(frozen=True)
class Field:
    """What a run says of a field.

    - `mask`: internal indices, C for background.
    - `probabilities`: per channel, as they are reported: before refinement, rescaled by the run's temperature.
    - `prototypes`: the winners, see `lpdseg.segmenting.segmenter.Prediction`; None where none make the mask.
    """

    mask: UInt8[np.ndarray, "h w"]
    probabilities: Float16[np.ndarray, "n h w"]
    prototypes: UInt16[np.ndarray, "h w"] | None

    @property
    def size(self) -> int:
        """Bytes."""
        won = 0 if self.prototypes is None else self.prototypes.nbytes
        return self.mask.nbytes + self.probabilities.nbytes + won


@dataclass(frozen=True)
class Frame:
    """How an item lies in the grid of a run.

    - `size`: (W, H) of the grid.
    - `scale`: (x, y) pixels of the full image per pixel of the grid.
    - `mpp`: microns per pixel of the grid, None where nobody knows.
    - `grid`: windows of a slide; None of a patch, which is computed as a whole.
    - `known`: microns per pixel of a slide's level 0.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    mpp: float | None
    grid: Grid | None = None
    known: Mpp | None = None

    @property
    def side(self) -> tuple[int, int]:
        """Width and height of a field that does not lie at the end."""
        return self.size if self.grid is None else (SIDE, SIDE)

    @property
    def columns(self) -> int:
        """Fields from left to right."""
        return -(-self.size[0] // self.side[0])

    @property
    def rows(self) -> int:
        """Fields from top to bottom."""
        return -(-self.size[1] // self.side[1])

    def box(self, number: int) -> tuple[int, int, int, int]:
        """x, y, width and height of a field; they are numbered row by row."""
        width, height = self.side
        x, y = number % self.columns * width, number // self.columns * height
        return x, y, min(width, self.size[0] - x), min(height, self.size[1] - y)

    def touched(self, x: float, y: float, width: float, height: float) -> list[int]:
        """The fields that a rectangle of the full image lies on, those near its middle first."""
        first = [int(at // (s * n)) for at, s, n in zip((x, y), self.scale, self.side, strict=True)]
        ends = zip((x + width, y + height), self.scale, self.side, strict=True)
        last = [-int(-end // (s * n)) for end, s, n in ends]
        columns = range(max(first[0], 0), min(last[0], self.columns))
        rows = range(max(first[1], 0), min(last[1], self.rows))
        middle = ((first[0] + last[0] - 1) / 2, (first[1] + last[1] - 1) / 2)
        places = sorted((abs(c - middle[0]) + abs(r - middle[1]), r, c) for r in rows for c in columns)
        return [row * self.columns + column for _, row, column in places]


@dataclass(frozen=True)
class Windows:
    """How a run looks at slides: microns per pixel, a window's side, what neighbours share, windows at once."""

    mpp: float
    side: int
    overlap: int
    batch: int


def windows_of(run: Path, segmenter: Segmenter, checkpoint: str, options: SlideOptions) -> Windows | str:
    """How a run looks at slides, or in a sentence why it cannot."""
    try:
        return Windows(*resolve_windows(run, trained_on(run, checkpoint), options), segmenter.settings.batch)
    except SettingsError as error:
        return str(error)


def frame_of(item: Item, slide: Slide, windows: Windows | str, flag: float | None, trained: float | None) -> Frame:
    """How an item lies in a run's grid.

    **Arguments:**

    - `flag`: microns per pixel that a person gives for all slides.
    - `trained`: those of the run's patches, which a patch has where nobody says otherwise.

    **Raises:** `SlideError` where a slide does not say how many microns a pixel is; `SettingsError` where the run
    does not.
    """
    if not item.slide:
        own = item.mpp[0] if item.mpp is not None else flag or trained
        return Frame(slide.facts.size, (1.0, 1.0), own)
    if isinstance(windows, str):
        raise SettingsError(windows)
    mpp = resolve_mpp(item.path, slide.facts, flag, item.mpp)
    view = AtMpp(slide, mpp, windows.mpp)
    return Frame(view.size, view.scale, windows.mpp, Grid(view.size, windows.side, windows.overlap), mpp)


class Computer:
    """Computes fields of one item under a segmenter whose network is `readings`. One thread at a time.

    **Arguments:**

    - `index`: of the item, so that readings are told apart.
    - `opened`: gives the picture.
    """

    def __init__(self, index: int, frame: Frame, opened: Opener, readings: Readings, batch: int) -> None:
        self.frame = frame
        self._index, self._opened, self._readings, self._batch = index, opened, readings, batch
        self._tissue: TissueMask | None = None
        self._view: AtMpp | None = None
        self._of_a_window = None if frame.grid is None else frame.grid.weights()

    def field(self, segmenter: Segmenter, number: int) -> Field:
        """A field.

        **Raises:** `SlideError` where the slide is damaged there; `DataError` for what does not fit in memory;
        `CheckpointError` where the network computes no numbers.
        """
        return self._of_patch(segmenter) if self.frame.grid is None else self._of_slide(segmenter, number)

    def is_remembered(self, number: int) -> bool:
        """Whether a field needs no network."""
        return all(self._readings.knows(self._name(place)) for place in self._places(number))

    def heat(
        self, segmenter: Segmenter, number: int, of: Callable[[Evidence], Tensor]
    ) -> Float32[np.ndarray, "h w"]:
        """What `of` gives of the evidence of each window, B x h' x w' in [0, 1], over a field; 0 where nothing is
        computed.

        **Raises:** as `field`.
        """
        x, y, width, height = self.frame.box(number)
        sums, total = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        for places, images in self._batches(number):
            batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
            with self._readings.about([self._name(place) for place in places]):
                evidence = segmenter.observe(batch, parts=True)
            values = fuse_scales({0: of(evidence)[:, None]}, {0: 1.0}, evidence.padded)[:, 0]
            found = values[:, : evidence.size[0], : evidence.size[1]].float().cpu().numpy()
            check_computed(found)
            for place, one in zip(places, found, strict=True):
                weights = self._weights(one.shape)
                inside, part = _overlap((x, y, width, height), place, one.shape)
                sums[inside] += (one * weights)[part]
                total[inside] += weights[part]
        return np.divide(sums, total, out=sums, where=total > 0)

    def _of_patch(self, segmenter: Segmenter) -> Field:
        with self._opened() as slide:
            image = slide.read(0, 0, 0, *self.frame.size)
        with self._readings.about([self._name((0, 0))]):
            found = segmenter.segment_batch(image[None], prototypes=True, uncertainty=True)[0]
        mask = segmenter.classes.to_internal()[found.mask]
        assert found.uncertainty is not None
        reported = found.uncertainty.probabilities.astype(np.float16)
        return Field(np.minimum(mask, len(segmenter.classes)), reported, found.prototypes)

    def _of_slide(self, segmenter: Segmenter, number: int) -> Field:
        x, y, width, height = self.frame.box(number)
        classes, channels = len(segmenter.classes), len(segmenter.channel_names)
        refined = segmenter.settings.refine != "none"
        blended = 2 * channels if refined else channels
        sums, total = np.zeros((blended, height, width), np.float32), np.zeros((height, width), np.float32)
        by_prototypes = segmenter.winning is not None and len(segmenter.winning or ()) < NO_WINNER
        won, heaviest = np.full((classes, height, width), NO_WINNER, np.uint8), np.zeros_like(total)
        model = WindowModel(segmenter)
        for places, images in self._batches(number):
            with self._readings.about([self._name(place) for place in places]):
                probabilities, winners = model.compute(images, by_prototypes, refined)
            found = probabilities.cpu().numpy()
            check_computed(found)
            for b, place in enumerate(places):
                weights = self._weights(found.shape[2:])
                inside, part = _overlap((x, y, width, height), place, found.shape[2:])
                sums[:, *inside] += (found[b] * weights)[:, *part]
                total[inside] += weights[part]
                if winners is not None:
                    heavier = weights[part] > heaviest[inside]
                    np.copyto(won[:, *inside], winners[b].cpu().numpy()[:, *part], where=heavier)
                    np.maximum(heaviest[inside], weights[part], out=heaviest[inside])
        known = total > 0
        mask = np.where(known, sums[:channels].argmax(0), classes).astype(np.uint8)
        mean = np.divide(sums[-channels:], total, out=np.ones_like(sums[-channels:]), where=known)
        mean = tempered(torch.from_numpy(mean), segmenter.calibration.temperature).numpy()
        mean[:, ~known] = 0
        if channels > classes:
            mean[-1][~known] = 1
        else:
            glass = ~self._found(number)
            mask[glass], mean[:, glass] = classes, 0
        winner = _of_classes(won, mask) if by_prototypes else None
        return Field(mask, mean.astype(np.float16), winner)

    def _batches(self, number: int) -> Iterator[tuple[list[tuple[int, int]], UInt8[np.ndarray, "B h w 3"]]]:
        """The windows of a field: places and pixels."""
        places, grid = self._places(number), self.frame.grid
        side = self.frame.size if grid is None else (grid.window, grid.window)
        for first in range(0, len(places), self._batch):
            some = places[first : first + self._batch]
            with self._opened() as slide:  # others read it while these are computed
                read = partial(slide.read, 0) if grid is None else self._at_mpp(slide).read
                images = np.stack([read(*place, *side) for place in some])
            yield some, images

    def _places(self, number: int) -> list[tuple[int, int]]:
        """The upper left pixels of the windows that a field lies under and that show tissue."""
        grid = self.frame.grid
        if grid is None:
            return [(0, 0)]
        x, y, width, height = self.frame.box(number)
        tissue, side = self._tissue_mask(), grid.window
        rows = _near(y, height, side, side - grid.overlap, grid.rows)
        columns = _near(x, width, side, side - grid.overlap, grid.columns)
        origins = (grid.origin(row, column) for row in rows for column in columns)
        near = ((left, top) for left, top in origins if x - side < left < x + width and y - side < top < y + height)
        return [(left, top) for left, top in near if tissue.touches(left, top, side, side)]

    def _at_mpp(self, slide: Slide) -> AtMpp:
        """The slide as the grid sees it; levels are compared once for as long as it is open."""
        if self._view is None or self._view.slide is not slide:
            assert self.frame.known is not None and self.frame.mpp is not None
            self._view = AtMpp(slide, self.frame.known, self.frame.mpp)
        return self._view

    def _tissue_mask(self) -> TissueMask:
        if self._tissue is None:
            with self._opened() as slide:
                self._tissue = find_tissue(self._at_mpp(slide))
        return self._tissue

    def _found(self, number: int) -> Bool[np.ndarray, "h w"]:
        """Which pixels of a field are tissue."""
        x, y, width, height = self.frame.box(number)
        return tissue_part(self._tissue_mask(), y, height, slice(x, x + width))

    def _weights(self, shape: Sequence[int]) -> Float32[np.ndarray, "h w"]:
        return np.ones(tuple(shape), np.float32) if self._of_a_window is None else self._of_a_window

    def _name(self, place: tuple[int, int]) -> Hashable:
        return self._index, place


def _near(start: int, length: int, window: int, stride: int, count: int) -> list[int]:
    """The windows of a row or column that may reach a stretch; the last lies further in than its number says."""
    first, last = max((start - window) // stride, 0), min((start + length) // stride + 1, count)
    return sorted({*range(first, last), count - 1})


def _overlap(
    box: tuple[int, int, int, int], place: tuple[int, int], shape: Sequence[int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a window lies in a box, and the part of it that does; rows first."""
    inside, part = [], []
    for start, length, at, side in ((box[1], box[3], place[1], shape[0]), (box[0], box[2], place[0], shape[1])):
        first, last = max(start, at), min(start + length, at + side)
        inside.append(slice(first - start, last - start))
        part.append(slice(first - at, last - at))
    return (inside[0], inside[1]), (part[0], part[1])


def _of_classes(won: UInt8[np.ndarray, "C h w"], mask: UInt8[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """The winner among the prototypes of the mask's class."""
    found = np.full(mask.shape, NO_PROTOTYPE, np.uint16)
    for c, winners in enumerate(won):
        np.copyto(found, winners, where=(mask == c) & (winners != NO_WINNER), casting="unsafe")
    return found

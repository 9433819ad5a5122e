"""Layers as tiles of the same pyramid as the picture: transparent PNGs of what a run says.

A tile has h x w pixels; C classes.
"""

import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from lpdseg.data.patches import read_mask
from lpdseg.errors import DataError
from lpdseg.insight.pictures import heat_palette
from lpdseg.maps.uncertainty import gap_of_two_best, normalised_entropy
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.pictures.masks import class_palette, outlines
from lpdseg.pictures.shades import shades
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.view.items import AbsentError
from lpdseg.view.pixels import levels, tile_box
from lpdseg.view.read_back import has_prototypes, read_regions, read_values
from lpdseg.view.run import Seen, ShownRun

_NOTHING = 255
STRIPES = ((0, 0, 0), (255, 232, 0))
"""Errors: no stain and no class looks like black and yellow side by side, to whatever eyes."""
_STRIPE = 2
"""Pixels of a tile across one stripe."""
_RIM = 2
"""Pixels around a tile, which tell what is at an edge."""
_SHOWN_WHOLE = 1024
"""Sides in pixels of images that a screen shows enlarged: an outline of one pixel is seen there."""
_GOING_BACK = 16
"""Fields under a tile of which what gave way to others is computed again; of more, what is in memory is shown."""


@dataclass(frozen=True)
class Look:
    """How a layer is drawn.

    - `hidden`: channels that are not shown, by index.
    - `outline`: the edges of regions alone.
    - `lit`: the one prototype whose pixels are shown.
    """

    hidden: frozenset[int] = frozenset()
    outline: bool = False
    lit: int | None = None


@dataclass(frozen=True)
class Kind:
    """A layer that can be asked for: its name in addresses, such as `class-2`, and its title for people.

    `file`: that it is read from; None where it is computed.
    """

    name: str
    title: str
    file: Path | None = None


def written_kinds(run: ShownRun, index: int) -> list[Kind]:
    """The layers of what `segment` has written of an item."""
    written = run.items[index].written
    if written is None:
        return []
    titles = {"written": ("mask", "Mask as written")}
    if has_prototypes(run, index):
        titles["written-prototypes"] = "prototypes", "Winning prototype as written"
    titles["written-gap"] = "gap", "Uncertainty as written (gap)"
    for c, name in enumerate(run.segmenter.channel_names):
        titles[f"written-class-{c}"] = "probabilities", f"Probability of {name} as written"
    return [Kind(name, title, written.files[of]) for name, (of, title) in titles.items() if of in written.files]


def kinds_of(run: ShownRun, index: int) -> list[Kind]:
    """The layers of an item, those first that people look at first."""
    segmenter, item = run.segmenter, run.items[index]
    names, found = segmenter.channel_names, [*written_kinds(run, index), Kind("mask", "Mask")]
    if segmenter.winning is not None:
        found.append(Kind("prototypes", "Winning prototype"))
    found += [Kind("entropy", "Uncertainty: entropy"), Kind("gap", "Uncertainty: gap of the two best")]
    if item.truth is not None:
        found += [Kind("truth", "Truth"), Kind("errors", "Errors")]
    found += [Kind(f"class-{c}", f"Probability of {name}") for c, name in enumerate(names)]
    if segmenter.winning is not None:
        keys, retired = run.plain.prototype_names, segmenter.model.retired
        found += [Kind(f"prototype-{k}", f"Probability of {key}") for k, key in enumerate(keys) if k not in retired]
    if not segmenter.by_head:
        classes = segmenter.classes.names
        for level in sorted(segmenter.fusion):
            found += [
                Kind(f"scale-{level * len(classes) + c}", f"Scale {level + 1}: {name}")
                for c, name in enumerate(classes)
            ]
    return found


def layer_tile(
    run: ShownRun, index: int, kind: str, level: int, column: int, row: int, look: Look, classes: TissueClasses
) -> bytes:
    """A tile of a layer as a PNG, transparent where nothing is known.

    **Arguments:**

    - `classes`: of true masks.

    **Raises:** `AbsentError` for a layer or tile that does not exist; `DataError` for a file that cannot be read,
    or a slide that cannot be segmented.
    """
    if kind not in {one.name for one in kinds_of(run, index)}:
        raise AbsentError(f"there is no layer {kind}")
    size = _full_size(run, index)
    x, y, width, height = tile_box(size, level, column, row)
    down = 1 << (levels(size) - level)
    xs, ys = (np.arange(at - _RIM, at + n + _RIM) + 0.5 for at, n in ((x, width), (y, height)))
    xs, ys = (xs * down).clip(0, size[0] - 0.5), (ys * down).clip(0, size[1] - 0.5)
    name, _, channel = kind.rpartition("-") if kind[-1].isdecimal() else (kind, "", "")
    if name in ("mask", "prototypes", "written", "written-prototypes", "truth", "errors"):
        return _of_regions(run, index, name, (x, y), xs, ys, look, classes)
    if name.startswith("written-"):
        values = read_values(run, index, int(channel) if channel else None, xs[_RIM:-_RIM], ys[_RIM:-_RIM])
    else:
        values = _values(run, index, name, int(channel or 0), xs[_RIM:-_RIM], ys[_RIM:-_RIM])
    known = ~np.isnan(values)
    drawn = np.where(known, (np.nan_to_num(values).clip(0, 1) * 254).round(), _NOTHING).astype(np.uint8)
    alpha = np.full(256, 255, np.uint8)
    alpha[_NOTHING] = 0
    return _png(drawn, heat_palette(), alpha)


def _full_size(run: ShownRun, index: int) -> tuple[int, int]:
    return run.pictures.size(index)


def _of_regions(
    run: ShownRun, index: int, name: str, at: tuple[int, int], xs: np.ndarray, ys: np.ndarray, look: Look,
    classes: TissueClasses,
) -> bytes:  # fmt: skip
    """A tile of a layer of regions, `at` a pixel of its level; `xs` and `ys` have `_RIM` more at each end."""
    own = run.segmenter.classes
    count, palette = len(own), class_palette(own)
    wide = max(_full_size(run, index)) > _SHOWN_WHOLE
    if name.startswith("written"):
        found = read_regions(run, index, "mask" if name == "written" else "prototypes", xs, ys)
        regions = np.minimum(found, _NOTHING).astype(np.uint8)
    elif name == "truth":
        regions, palette = _truth(run, index, xs, ys, classes), class_palette(classes)
    elif name == "errors":
        mask, truth = _sampled(run, index, "mask", xs, ys), _truth(run, index, xs, ys, classes)
        wrong = (mask != truth) & (mask != _NOTHING) & (truth != IGNORE)
        if look.outline:
            wrong &= _edges(wrong.astype(np.uint8), wide)
        down, across = (np.arange(len(places)) + first - _RIM for places, first in ((ys, at[1]), (xs, at[0])))
        stripes = np.add.outer(down, across) // _STRIPE % 2
        regions = np.where(wrong, stripes, _NOTHING).astype(np.uint8)
        count, palette[:2], look = 2, STRIPES, Look()
    else:
        regions = _sampled(run, index, name, xs, ys)
    hidden: Collection[int] = look.hidden
    if name.endswith("prototypes"):
        palette, of = prototype_colours(run.segmenter if name == "prototypes" else run.plain)
        hidden = {k for k, c in enumerate(of) if c in look.hidden or (look.lit is not None and k != look.lit)}
        count = len(of)
    shown = np.isin(regions, [*range(count)]) & ~np.isin(regions, list(hidden))
    if look.outline:
        shown &= _edges(regions, wide)
    drawn = np.where(shown, regions, _NOTHING)[_RIM:-_RIM, _RIM:-_RIM].astype(np.uint8)
    alpha = np.full(256, 255, np.uint8)
    alpha[_NOTHING] = 0
    return _png(drawn, palette, alpha)


def _edges(regions: UInt8[np.ndarray, "h w"], wide: bool) -> Bool[np.ndarray, "h w"]:
    """Outlines of one pixel on each side of an edge, or of two: a slide's pixel can be less than the screen's."""
    edge = outlines(regions)
    if not wide:
        return edge
    grown = edge.copy()
    grown[1:] |= edge[:-1]
    grown[:-1] |= edge[1:]
    grown[:, 1:] |= edge[:, :-1]
    grown[:, :-1] |= edge[:, 1:]
    return grown


def prototype_colours(segmenter: Segmenter) -> tuple[UInt8[np.ndarray, "256 3"], tuple[int, ...]]:
    """RGB by prototype, in shades of the class that each counts for, and these classes; −1: it wins nothing."""
    winning, classes = segmenter.winning or (), segmenter.classes
    palette = np.full((256, 3), 128, np.uint8)
    for c, colour in enumerate(classes.colours):
        own = [k for k, of in enumerate(winning) if of == c]
        for k, shade in zip(own, shades(colour, len(own)) if own else (), strict=True):
            if k < _NOTHING:
                palette[k] = shade
    return palette, winning


def _sampled(run: ShownRun, index: int, name: str, xs: np.ndarray, ys: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """The mask or the winners at places of the full image; `_NOTHING` where none is known."""
    seen = run.seen(index)
    across, down = _in_grid(seen, xs, ys)
    found = np.full((len(ys), len(xs)), _NOTHING, np.uint16)
    if len(xs) > 1 and seen.step > 1 and across[-1] - across[0] >= seen.step * (len(xs) - 1):
        overview = seen.overview.get(name)
        if overview is not None:
            found = overview[np.ix_(down // seen.step, across // seen.step)]
    else:
        for number, rows, columns in _parts(run, index, across, down):
            field = run.field(index, number)
            if field is None:
                continue
            values = field.mask if name == "mask" else field.prototypes
            if values is not None:
                x, y, _, _ = seen.frame.box(number)
                found[rows, columns] = values[np.ix_(down[rows] - y, across[columns] - x)]
    return np.where(found >= min(NO_PROTOTYPE, _NOTHING), _NOTHING, found).astype(np.uint8)


def _values(run: ShownRun, index: int, name: str, channel: int, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Values in [0, 1] at places of the full image; NaN where none are known."""
    seen = run.seen(index)
    across, down = _in_grid(seen, xs, ys)
    found = np.full((len(ys), len(xs)), np.nan, np.float32)
    parts = _parts(run, index, across, down)
    for number, rows, columns in parts:
        x, y, _, _ = seen.frame.box(number)
        part = np.ix_(down[rows] - y, across[columns] - x)
        if name in ("prototype", "scale"):
            heat = run.heat(index, number, name, channel, len(parts) <= _GOING_BACK)
            if heat is not None:
                found[rows, columns] = heat[part]
            continue
        field = run.field(index, number, len(parts) <= _GOING_BACK)
        if field is not None:
            values = field.probabilities[:, part[0], part[1]].astype(np.float32)
            found[rows, columns] = _of_channels(name, channel, values)
    return found


def entropy(values: Float32[np.ndarray, "n h w"]) -> Float32[np.ndarray, "h w"]:
    """Of n channels, see `lpdseg.maps.uncertainty`."""
    found: np.ndarray = normalised_entropy(torch.from_numpy(values)).numpy()
    return found


def gap(values: Float32[np.ndarray, "n h w"]) -> Float32[np.ndarray, "h w"]:
    """Of the two likeliest of n channels, see `lpdseg.maps.uncertainty`."""
    found: np.ndarray = gap_of_two_best(torch.from_numpy(values)).numpy()
    return found


def _of_channels(name: str, channel: int, values: np.ndarray) -> np.ndarray:
    if name == "class":
        chosen: np.ndarray = values[channel]
        return chosen
    if name == "entropy":
        return entropy(values)
    return 1 - gap(values)


def _parts(run: ShownRun, index: int, across: np.ndarray, down: np.ndarray) -> list[tuple[int, slice, slice]]:
    """The fields under a tile: number, and the tile's rows and columns on it."""
    frame, found = run.seen(index).frame, []
    known = run.known(index)
    numbers = {
        int(row) * frame.columns + int(column)
        for row in np.unique(down // frame.side[1])
        for column in np.unique(across // frame.side[0])
    }
    for number in sorted(numbers & known.keys()):
        x, y, width, height = frame.box(number)
        rows = slice(*np.searchsorted(down, (y, y + height)))
        columns = slice(*np.searchsorted(across, (x, x + width)))
        found.append((number, rows, columns))
    return found


def _in_grid(seen: Seen, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the grid at places of the full image."""
    (width, height), (scale_x, scale_y) = seen.frame.size, seen.frame.scale
    across = (xs / scale_x).astype(np.intp).clip(0, width - 1)
    return across, (ys / scale_y).astype(np.intp).clip(0, height - 1)


def _truth(
    run: ShownRun, index: int, xs: np.ndarray, ys: np.ndarray, classes: TissueClasses
) -> UInt8[np.ndarray, "h w"]:
    path = run.items[index].truth
    if path is None:
        raise DataError(f"{run.items[index].name} has no true mask")
    return _true_mask(path, classes)[np.ix_(ys.astype(np.intp), xs.astype(np.intp))]


@lru_cache(maxsize=8)
def _true_mask(path: Path, classes: TissueClasses) -> UInt8[np.ndarray, "h w"]:
    return read_mask(path, classes)


def _png(values: UInt8[np.ndarray, "h w"], palette: np.ndarray, alpha: np.ndarray) -> bytes:
    picture, file = Image.fromarray(values), io.BytesIO()
    picture.putpalette(palette.astype(np.uint8).tobytes())
    picture.save(file, "PNG", transparency=alpha.tobytes(), compress_level=1)
    return file.getvalue()

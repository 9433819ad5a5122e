"""What `segment` has written of an item, read back: a run's regions, values, areas and places. Nothing is computed.

A rectangle has h x w places; C classes, K prototypes.
"""

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt16

from lpdseg.errors import DataError, LpdsegError
from lpdseg.view.inside import Polygon, box_of, inside
from lpdseg.view.run import ShownRun
from lpdseg.view.written import Written, WrittenFile

_COUNTING = Lock()
"""Whole files are counted one after the other, and each once however often it is asked for meanwhile."""


def has_prototypes(run: ShownRun, index: int) -> bool:
    """Whether the winners that were written are prototypes of this run, which have the same numbers."""
    written = run.items[index].written
    own = written is not None and "prototypes" in written.files and run.is_of(written.model)
    return own and run.segmenter.winning is not None


def read_regions(run: ShownRun, index: int, of: str, xs: np.ndarray, ys: np.ndarray) -> UInt16[np.ndarray, "h w"]:
    """The `mask` (internal indices), or the winning `prototypes`, at places of the full image.

    **Raises:** `DataError` for a file that cannot be read.
    """
    found = _file(run, index, of).read(xs, ys)
    if of == "mask":
        found = _of(run, index).classes.to_internal()[_eight_bits(found, _of(run, index).files[of])]
    return found.astype(np.uint16)


def read_values(
    run: ShownRun, index: int, channel: int | None, xs: np.ndarray, ys: np.ndarray
) -> Float32[np.ndarray, "h w"]:
    """The probability of a channel at places of the full image; without one 1 − the gap of the two best. In [0, 1].

    **Raises:** as `read_regions`.
    """
    of, called = ("gap", None) if channel is None else ("probabilities", run.segmenter.channel_names[channel])
    found = _file(run, index, of).read(xs, ys, called)
    values: np.ndarray = found.astype(np.float32) / (255 if found.dtype == np.uint8 else 1)
    return values


def read_areas(run: ShownRun, index: int, polygon: Polygon | None) -> dict[str, Any]:
    """As `lpdseg.view.areas.region_areas`, of the mask that was written, all of which is known. Pixels are those of
    the file, which is read square by square.

    **Raises:** as `read_regions`.
    """
    written, classes = _of(run, index), len(run.segmenter.classes)
    if "mask" not in written.files:
        return {"reason": "The results hold no mask of this slide, so areas are not known."}
    counts = _counts(run, index, "mask", polygon)
    pixels = np.zeros(256, np.int64)
    np.add.at(pixels, written.classes.to_internal(), counts[:256])
    pixels = pixels[: classes + 1]
    prototypes = np.zeros(0, np.int64)
    if has_prototypes(run, index):
        prototypes = _counts(run, index, "prototypes", polygon)[: len(run.segmenter.winning or ())]
    mpp, scale = _mpp(run, index), _file(run, index, "mask").scale
    return {
        "pixels": pixels.tolist(),
        "prototypes": prototypes.tolist(),
        "known": int(counts.sum()),
        "whole": int(counts.sum()),
        "mm2": None if mpp is None else mpp[0] * mpp[1] * scale[0] * scale[1] / 1e6,
    }


def read_place(run: ShownRun, index: int, x: float, y: float) -> dict[str, Any]:
    """What the files say of a place in pixels of the full image; of what they do not hold, None. Nothing outside.

    **Raises:** as `read_regions`.
    """
    written, (width, height) = _of(run, index), run.pictures.size(index)
    if not (0 <= x < width and 0 <= y < height):
        return {}
    xs, ys = np.array([x]), np.array([y])
    told: dict[str, Any] = dict.fromkeys(("channel", "probabilities", "prototype", "entropy", "gap"))
    if "mask" in written.files:
        channel = read_regions(run, index, "mask", xs, ys).item()
        told["channel"] = channel if channel <= len(run.segmenter.classes) else None
    if has_prototypes(run, index):
        winner = read_regions(run, index, "prototypes", xs, ys).item()
        told["prototype"] = winner if winner < len(run.segmenter.winning or ()) else None
    if "probabilities" in written.files:
        channels = range(len(run.segmenter.channel_names))
        told["probabilities"] = [round(read_values(run, index, c, xs, ys).item(), 4) for c in channels]
    if "gap" in written.files:
        told["gap"] = round(1 - read_values(run, index, None, xs, ys).item(), 4)
    return {"read": True, "holds_mask": "mask" in written.files, **told}


def _of(run: ShownRun, index: int) -> Written:
    written = run.items[index].written
    assert written is not None
    return written


def _file(run: ShownRun, index: int, of: str) -> WrittenFile:
    written = _of(run, index)
    return _opened(written.files[of], run.pictures.size(index), written.scale)


@lru_cache(maxsize=4)
def _opened(path: Path, size: tuple[int, int], scale: tuple[float, float] | None) -> WrittenFile:
    return WrittenFile(path, size, scale)


def _eight_bits(found: np.ndarray, path: Path) -> np.ndarray:
    if found.dtype != np.uint8:
        raise DataError(f"{path} is no mask of 8 bits; segment its image again")
    return found


def _counts(run: ShownRun, index: int, of: str, polygon: Polygon | None) -> Int[np.ndarray, " values"]:
    """How many pixels of a file of regions, or of a polygon of it, have each value."""
    file = _file(run, index, of)
    if polygon is not None:
        return _count(file, _of(run, index).files[of], polygon)
    written = _of(run, index)
    with _COUNTING:
        return _counted(written.files[of], run.pictures.size(index), written.scale)


@lru_cache(maxsize=64)
def _counted(path: Path, size: tuple[int, int], scale: tuple[float, float] | None) -> Int[np.ndarray, " values"]:
    return _count(_opened(path, size, scale), path, None)


def _count(file: WrittenFile, path: Path, polygon: Polygon | None) -> Int[np.ndarray, " values"]:
    counts = np.zeros(256, np.int64)
    for x, y, found in file.blocks(None if polygon is None else box_of(polygon)):
        if found.dtype not in (np.uint8, np.uint16):
            raise DataError(f"{path} is no map of classes; segment its image again")
        if polygon is not None:
            found = found[inside((x, y, found.shape[1], found.shape[0]), file.scale, polygon)]
        own = np.bincount(found.ravel(), minlength=len(counts))
        own[: len(counts)] += counts
        counts = own
    return counts


def _mpp(run: ShownRun, index: int) -> tuple[float, float] | None:
    """(x, y) microns per pixel of the full image: as a person says, as they were taken to be, as the run knows."""
    said, written = run.options.mpp, _of(run, index)
    if written.mpp is not None:
        return written.mpp if said is None else (said, said)
    try:
        frame = run.seen(index).frame
    except LpdsegError:
        return None
    return None if frame.mpp is None else (frame.mpp / frame.scale[0], frame.mpp / frame.scale[1])

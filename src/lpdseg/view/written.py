"""What `segment` has written of slides and patches, as layers."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from PIL import Image
from pydantic import Field

from lpdseg.data.image_bounds import HeldFile
from lpdseg.errors import DataError, LpdsegError
from lpdseg.extras import needed
from lpdseg.files import is_there, read_json
from lpdseg.schema import Described, Scale, fits
from lpdseg.slides.directories import check_directories
from lpdseg.tissue import TissueClasses
from lpdseg.view.claims import check_archive, check_part, check_pyramid, check_size, check_store
from lpdseg.view.stores import open_store
from lpdseg.workflows.slides.layout import output_path
from lpdseg.workflows.tables import read_table

BLOCK = 2048
"""Side in pixels of what is read at once of a whole file: four by four of the tiles that it is written in."""
_FINEST = 1 / 4
"""Pixels of a slide per pixel of its mask; a record that tells of less is not believed."""


@dataclass(frozen=True)
class Written:
    """What `segment` has left of an item.

    - `classes`: of its mask.
    - `model`: SHA-256 of the weights that made it; nothing where nobody says.
    - `files`: by what they hold: `mask`, `prototypes`, `gap` (the uncertainty), `probabilities`.
    - `mpp`: of a slide: (x, y) microns per pixel of level 0, as they were then taken to be.
    - `scale`: (x, y) pixels of the full image per pixel of these files; None where nobody says.
    """

    classes: TissueClasses
    model: str
    files: Mapping[str, Path]
    mpp: tuple[float, float] | None = field(default=None)
    scale: tuple[float, float] | None = field(default=None)


class WrittenFile:
    """A file of these, open: a picture, an array of numbers, or a pyramid of either.

    **Arguments:**

    - `size`: (W, H) of the item's full image.
    - `scale`: pixels of that per pixel of the file, see `Written`; None: as many as its size gives.

    **Raises:** `DataError` where the file cannot be read; `SettingsError` where the extra `slides` is missing.
    """

    def __init__(self, path: Path, size: tuple[int, int], scale: tuple[float, float] | None = None) -> None:
        self._path, self._full, self._size = path, size, size
        if scale is not None:  # the mask of a slide that is coarser than the model is larger than the slide
            self._size = max(size[0], math.ceil(size[0] / scale[0])), max(size[1], math.ceil(size[1] / scale[1]))
        self._levels: list[Any] = []
        self._channels: tuple[str, ...] = ()
        with self._told():
            if path.suffix == ".png":
                with HeldFile(path) as file, Image.open(file, formats=["PNG"]) as picture:
                    check_size(picture.size, size)
                    self._levels = [np.asarray(picture)]
            elif path.suffix == ".npz":
                with ZipFile(path) as archive:
                    check_archive(archive, size)
                with path.open("rb") as held, NpzFile(held, allow_pickle=False) as numbers:
                    self._levels, self._channels = [numbers["probabilities"]], tuple(map(str, numbers["classes"]))
            elif path.suffix == ".zarr":
                self._levels, self._channels = open_store(path)
                check_store(self._levels, size)
            else:
                self._levels = self._pyramid()
            shape = self._channels and (len(self._channels),)
            if any(level.shape[:-2] != shape or level.ndim < 2 for level in self._levels):
                raise ValueError("its shape is another")
            height, width = self._levels[0].shape[-2:]
        self.size: tuple[int, int] = (width, height)
        """(W, H) of the finest level, or of all that there is."""
        own = size[0] / width, size[1] / height
        is_told = scale is not None and all(
            abs(n * each - whole) <= each for n, each, whole in zip(self.size, scale, size, strict=True)
        )
        self.scale: tuple[float, float] = scale if scale is not None and is_told else own
        """(x, y) pixels of the full image per pixel of that."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except LpdsegError:
            raise
        except Exception as error:  # damaged bytes make decoders raise almost anything
            raise DataError(f"{self._path} cannot be read ({error}); segment its image again") from error

    def _pyramid(self) -> list[Any]:
        needed("slides", "tifffile", "imagecodecs", "zarr")
        import tifffile
        import zarr

        check_directories(self._path)
        self._file = tifffile.TiffFile(self._path)
        series = self._file.series[0]
        check_pyramid(series.levels, self._size)
        # The finest level is the series itself, whose store without a number is a group of all levels.
        return [zarr.open(series.aszarr(level=n), mode="r") for n in range(len(series.levels))]

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, xs: np.ndarray, ys: np.ndarray, channel: str | None = None) -> np.ndarray:
        """Values as they are in the file, at columns and rows of places in pixels of the full image, which rise.

        **Arguments:**

        - `channel`: by name, of a file that has several.
        """
        if channel is not None and channel not in self._channels:
            raise DataError(f"{self._path} has no channel {channel}; segment its image again")
        step = (xs[-1] - xs[0]) / max(len(xs) - 1, 1)
        downs = [2 ** round(math.log2(self.size[0] / level.shape[-1])) for level in self._levels]
        fine = [n for n, down in enumerate(downs) if self.scale[0] * down <= step * 1.01]
        chosen = fine[-1] if fine else 0
        level, (height, width) = self._levels[chosen], self._levels[chosen].shape[-2:]
        across = (xs / (self.scale[0] * downs[chosen])).astype(np.intp).clip(0, width - 1)
        down = (ys / (self.scale[1] * downs[chosen])).astype(np.intp).clip(0, height - 1)
        box = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
        with self._told():
            if not isinstance(level, np.ndarray):
                check_part((box[0].stop - box[0].start) * (box[1].stop - box[1].start))
            part = np.asarray(level[box] if channel is None else level[self._channels.index(channel), *box])
            found: np.ndarray = part[np.ix_(down - down[0], across - across[0])]
        return found

    def blocks(self, box: tuple[float, float, float, float] | None = None) -> Iterator[tuple[int, int, np.ndarray]]:
        """All values of a file without channels, a square of at most `BLOCK` pixels at a time, each with the column
        and row of its upper left pixel.

        **Arguments:**

        - `box`: x, y, width and height of a rectangle of the full image, whose squares alone are read.
        """
        (width, height), (scale_x, scale_y) = self.size, self.scale
        left, top, right, below = 0, 0, width, height
        if box is not None:
            left, top = max(int(box[0] / scale_x), 0), max(int(box[1] / scale_y), 0)
            right = min(math.ceil((box[0] + box[2]) / scale_x), width)
            below = min(math.ceil((box[1] + box[3]) / scale_y), height)
        for y in range(top // BLOCK * BLOCK, below, BLOCK):
            for x in range(left // BLOCK * BLOCK, right, BLOCK):
                with self._told():
                    found = np.asarray(self._levels[0][y : y + BLOCK, x : x + BLOCK])
                yield x, y, found


_OF_SLIDES = {
    "mask": ("ome-tiff", "label-tiff"),
    "prototypes": ("ome-tiff of prototypes", "label-tiff of prototypes"),
    "gap": ("uncertainty",),
    "probabilities": ("zarr",),
}


def patch_results(folder: Path) -> Iterator[tuple[Path, Written | None]]:
    """The images of a folder of masks that `segment` wrote, and what else the same run of it wrote of them.

    **Raises:** `DataError` for a record that cannot be read, or images that are not there any more.
    """
    told = _read(folder / "segment.json")
    classes, model = _classes_of({"settings": told}, folder / "segment.json"), str(told.get("weights_sha256", ""))
    for row in read_table(folder / "summary.csv", "image").values():
        path, mask = Path(row["image"]), Path(row.get("mask", ""))
        if not (is_there(path) and path.is_file()):
            raise DataError(
                f"{path}, of which {folder} holds a mask, is not there now; put it back, or name patches"
            )
        own, files = row.get("model", ""), {"mask": folder / mask}
        if model.startswith(own) and mask.parts[:1] == ("masks",):  # else an earlier run of `segment` wrote it
            place = Path(*mask.parts[1:])
            files |= {"prototypes": folder / "prototypes" / place} if told.get("prototypes") else {}
            files |= {"gap": folder / "uncertainty" / place} if told.get("uncertainty") else {}
            probabilities = folder / "probabilities" / place.with_suffix(".npz")
            outputs = told.get("outputs")
            if isinstance(outputs, list):
                recorded = "probabilities" in outputs
            else:  # of earlier versions
                recorded = _is_newer(probabilities, folder / mask)
            files |= {"probabilities": probabilities} if recorded else {}
        files = {kind: file for kind, file in files.items() if file.is_file() and _is_inside(file, folder)}
        yield path, Written(classes, own, files) if "mask" in files else None


def _is_newer(path: Path, than: Path) -> bool:
    """Whether it was written after another file, where no record tells of it."""
    return path.is_file() and than.is_file() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def slide_results(folder: Path) -> Iterator[tuple[Path, Written | None]]:
    """The slides of a folder of outputs that `segment --to` wrote, and what of these can be shown.

    **Raises:** `DataError` for a state that cannot be read, or a slide that is not there any more.
    """
    for state in sorted((folder / "states").glob("[!.]*.json")):
        told = _read(state)
        settings, outputs = told.get("settings"), told.get("outputs")
        if not isinstance(settings, dict) or not isinstance(outputs, dict | None):
            raise DataError(f"{state} is no record of this program; segment again")
        path = Path(str(told.get("path", "")))
        if not is_there(path):
            raise DataError(
                f"{path}, of which {folder} holds results, is not there now; put it back, or name slides"
            )
        stem, files = state.name.removesuffix(".json"), dict[str, Path]()
        for what, kinds in _OF_SLIDES.items():
            made = (output_path(folder, kind, stem) for kind in kinds if kind in (outputs or ()))
            first = next((one for one in made if one.exists()), None)
            if first is not None:
                files[what] = first
        model = str(settings.get("weights_sha256", ""))
        yield path, Written(_classes_of(told, state), model, files, *_grid_of(settings)) if files else None


class _Grid(Described):
    slide_mpp: Annotated[list[Scale], Field(min_length=2, max_length=2)]
    model_mpp: Scale


def _grid_of(
    settings: dict[str, Any],
) -> tuple[tuple[float, float], tuple[float, float]] | tuple[None, None]:
    """`mpp` and `scale` of `Written`, where the settings say them."""
    if not fits(_Grid, settings):
        return None, None
    (x, y), mpp = settings["slide_mpp"], settings["model_mpp"]
    scale = mpp / x, mpp / y
    return ((x, y), scale) if min(scale) >= _FINEST else (None, None)


def _classes_of(state: dict[str, Any], path: Path) -> TissueClasses:
    try:
        return TissueClasses.from_dict(state["settings"]["classes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not say what the classes are; segment again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        told = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); segment again") from error
    if not isinstance(told, dict):
        raise DataError(f"{path} is no record of this program; segment again")
    return told

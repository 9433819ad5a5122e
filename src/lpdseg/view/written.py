"""What `segment` has written of slides and patches, as layers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from PIL import Image

from lpdseg.data.image_bounds import HeldFile
from lpdseg.errors import DataError, LpdsegError
from lpdseg.extras import needed
from lpdseg.files import is_there, read_json
from lpdseg.slides.directories import check_directories
from lpdseg.tissue import TissueClasses
from lpdseg.view.claims import check_archive, check_pyramid, check_size, check_store
from lpdseg.workflows.slides.layout import output_path
from lpdseg.workflows.tables import read_table


@dataclass(frozen=True)
class Written:
    """What `segment` has left of an item.

    - `classes`: of its mask.
    - `model`: SHA-256 of the weights that made it; nothing where nobody says.
    - `files`: by what they hold: `mask`, `prototypes`, `gap` (the uncertainty), `probabilities`.
    """

    classes: TissueClasses
    model: str
    files: Mapping[str, Path]


class WrittenFile:
    """A file of these, open: a picture, an array of numbers, or a pyramid of either.

    **Arguments:**

    - `size`: (W, H) of the item's full image.

    **Raises:** `DataError` where the file cannot be read; `SettingsError` where the extra `slides` is missing.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
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
                self._levels, self._channels = self._store()
            else:
                self._levels = self._pyramid()
            shape = self._channels and (len(self._channels),)
            if any(level.shape[:-2] != shape or level.ndim < 2 for level in self._levels):
                raise ValueError("its shape is another")

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
        levels = self._file.series[0].levels
        check_pyramid(levels, self._size)
        return [zarr.open(level.aszarr(), mode="r") for level in levels]

    def _store(self) -> tuple[list[Any], tuple[str, ...]]:
        needed("slides", "zarr", "numcodecs")
        import zarr

        group = zarr.open_group(str(self._path), mode="r")
        told: Any = dict(group.attrs)
        levels = [group[one["path"]] for one in told["multiscales"][0]["datasets"]]
        check_store(levels, self._size)
        return levels, tuple(str(one["label"]) for one in told["omero"]["channels"])

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
        width, height = self._size
        fine = [level for level in self._levels if width / level.shape[-1] <= max(step, 0) * 1.01]
        level = fine[-1] if fine else self._levels[0]
        across = (xs * level.shape[-1] / width).astype(np.intp).clip(0, level.shape[-1] - 1)
        down = (ys * level.shape[-2] / height).astype(np.intp).clip(0, level.shape[-2] - 1)
        box = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
        with self._told():
            part = np.asarray(level[box] if channel is None else level[self._channels.index(channel), *box])
            found: np.ndarray = part[np.ix_(down - down[0], across - across[0])]
        return found


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
        yield path, Written(_classes_of(told, state), model, files) if files else None


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

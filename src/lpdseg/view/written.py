"""What `segment` has written of slides and patches, as layers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.errors import DataError, LpdsegError
from lpdseg.extras import needed
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.workflows.slides.layout import output_path
from lpdseg.workflows.tables import read_table


@dataclass(frozen=True)
class Written:
    """A mask that was written, and the classes that it has."""

    mask: Path
    classes: TissueClasses


class WrittenMask:
    """The mask of an item, open: a picture, or a pyramid of them.

    **Arguments:**

    - `size`: (W, H) of the item's full image.

    **Raises:** `DataError` where the file cannot be read; `SettingsError` where the extra `slides` is missing.
    """

    def __init__(self, written: Written, size: tuple[int, int]) -> None:
        self._table = written.classes.to_internal()
        self._path, self._size = written.mask, size
        self._levels: list[Any] = []
        with self._told():
            if written.mask.suffix == ".png":
                with Image.open(written.mask) as picture:
                    self._levels = [np.asarray(picture)]
            else:
                self._levels = self._pyramid()
            if any(level.ndim != 2 for level in self._levels):
                raise ValueError("it is no mask")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except LpdsegError:
            raise
        except Exception as error:  # damaged bytes make decoders raise almost anything
            raise DataError(f"{self._path} cannot be read ({error}); segment its slide again") from error

    def _pyramid(self) -> list[Any]:
        needed("slides", "tifffile", "imagecodecs", "zarr")
        import tifffile
        import zarr

        self._file = tifffile.TiffFile(self._path)
        return [zarr.open(level.aszarr(), mode="r") for level in self._file.series[0].levels]

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, xs: np.ndarray, ys: np.ndarray) -> UInt8[np.ndarray, "h w"]:
        """Internal indices at columns and rows of places in pixels of the full image, which rise."""
        step = (xs[-1] - xs[0]) / max(len(xs) - 1, 1)
        width, height = self._size
        fine = [level for level in self._levels if width / level.shape[1] <= max(step, 0) * 1.01]
        level = fine[-1] if fine else self._levels[0]
        across = (xs * level.shape[1] / width).astype(np.intp).clip(0, level.shape[1] - 1)
        down = (ys * level.shape[0] / height).astype(np.intp).clip(0, level.shape[0] - 1)
        with self._told():
            part = np.asarray(level[down[0] : down[-1] + 1, across[0] : across[-1] + 1])
            found: UInt8[np.ndarray, "h w"] = self._table[part[np.ix_(down - down[0], across - across[0])]]
        return np.where(found > IGNORE - 1, IGNORE, found).astype(np.uint8)


def patch_results(folder: Path) -> Iterator[tuple[Path, Written | None]]:
    """The images of a folder of masks that `segment` wrote, and their masks.

    **Raises:** `DataError` for a record that cannot be read, or images that are not there any more.
    """
    classes = _classes_in(folder / "segment.json", "classes")
    for row in read_table(folder / "summary.csv", "image").values():
        path, mask = Path(row["image"]), folder / row.get("mask", "")
        if not path.is_file():
            raise DataError(
                f"{path}, of which {folder} holds a mask, is not there now; put it back, or name patches"
            )
        inside = mask.is_file() and mask.resolve().is_relative_to(folder.resolve())
        yield path, Written(mask, classes) if inside else None


def slide_results(folder: Path) -> Iterator[tuple[Path, Written | None]]:
    """The slides of a folder of outputs that `segment --to` wrote, and their masks where there are any.

    **Raises:** `DataError` for a state that cannot be read, or a slide that is not there any more.
    """
    for state in sorted((folder / "states").glob("[!.]*.json")):
        told = _read(state)
        path = Path(str(told.get("path", "")))
        if not path.exists():
            raise DataError(
                f"{path}, of which {folder} holds results, is not there now; put it back, or name slides"
            )
        stem = state.name.removesuffix(".json")
        masks = [output_path(folder, kind, stem) for kind in ("ome-tiff", "label-tiff")]
        mask = next((mask for mask in masks if mask.is_file()), None)
        yield path, None if mask is None else Written(mask, _classes_of(told, state))


def _classes_in(path: Path, key: str) -> TissueClasses:
    return _classes_of({"settings": {"classes": _read(path).get(key)}}, path)


def _classes_of(state: dict[str, Any], path: Path) -> TissueClasses:
    try:
        return TissueClasses.from_dict(state["settings"]["classes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not say what the classes are; segment again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); segment again") from error
    if not isinstance(told, dict):
        raise DataError(f"{path} is no record of this program; segment again")
    return told

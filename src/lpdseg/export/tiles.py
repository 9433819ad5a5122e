"""Patches for training, cut from a slide where people drew regions.

side x side pixels of a patch.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image

from lpdseg.data.records import PatchRecord
from lpdseg.data.regions import Region
from lpdseg.errors import DataError, OutputError, SettingsError
from lpdseg.export.view import View
from lpdseg.files import replacing_folder, result_name
from lpdseg.folders import is_system
from lpdseg.slides.tissue_mask import TissueMask
from lpdseg.tissue import TissueClasses

FOLDER = "patches"
"""Folder of a data set that holds a folder of patches per slide."""


@dataclass(frozen=True)
class Cut:
    """Which patches are cut.

    - `side`: in pixels of the view.
    - `stride`: from one patch to the next, in pixels of the view; patches overlap where it is less than `side`.
    - `minimum_share`: of the patch's area, in 0..1, that a class must cover for the label 1.
    - `minimum_inside`: of the patch's area, in 0..1, that regions must cover together. What lies outside of them is
      unlabelled tissue, which may be of any class.

    **Raises:** `SettingsError` for figures out of range.
    """

    side: int
    stride: int
    minimum_share: float = 0.05
    minimum_inside: float = 0.95

    def __post_init__(self) -> None:
        for name, pixels in (("side", self.side), ("stride", self.stride)):
            if pixels < 1:
                raise SettingsError(f"the {name} of patches must be at least 1 pixel; got {pixels}")
        for what, share in (("a class", self.minimum_share), ("regions", self.minimum_inside)):
            if not 0 < share <= 1:
                raise SettingsError(f"the part of a patch that {what} must cover is in 0..1 and not 0; got {share}")


def write_tiles(
    view: View,
    regions: Sequence[Region],
    out: Path,
    cut: Cut,
    *,
    classes: TissueClasses,
    name: str,
    patient: str,
    split: str,
    tissue: TissueMask | None = None,
) -> list[PatchRecord]:
    """Cuts patches from one slide and writes them as PNGs into `out/patches/NAME`, which is replaced as a whole.

    Where there is no patch to cut, nothing is changed.

    A patch has the label 1 for every class of at least `cut.minimum_share` of its area, and 0 for the others; a
    patch in which no class has as much is passed over. Files are named after their upper left corner in pixels of
    level 0: `NAME_X_Y.png`.

    **Arguments:**

    - `regions`: in pixels of level 0; their names are among those of `classes`.
    - `patient`, `split`: of all patches of the slide.
    - `tissue`: where given, patches that do not touch tissue are passed over.

    **Returns:** a record for each patch, to be written with `lpdseg.data.manifest.write_manifest`.

    **Raises:** `DataError` where no region overlaps the slide; `SlideError` where the slide is damaged;
    `OutputError`.
    """
    folder = out / FOLDER / result_name(name)
    found = [
        (x, y, labels)
        for x, y, labels in _labelled(view, regions, cut, classes, name)
        if tissue is None or tissue.touches(x, y, cut.side, cut.side)
    ]
    records: list[PatchRecord] = []
    if not found:
        return records
    with replacing_folder(folder) as temporary:
        for x, y, labels in found:
            file = f"{_in_names(name)}_{round(x * view.scale[0])}_{round(y * view.scale[1])}.png"
            Image.fromarray(view.read(x, y, cut.side, cut.side)).save(temporary / file, format="PNG")
            records.append(PatchRecord(folder / file, labels, split, patient, mpp=view.wanted))
    return records


def check_folder(folder: Path, name: str) -> None:
    """Whether `write_tiles` may replace a folder: only one that holds its patches of that slide, and nothing else.

    **Raises:** `OutputError`.
    """
    own = re.compile(rf"{re.escape(_in_names(name))}_\d+_\d+\.png")
    for path in folder.iterdir() if folder.is_dir() else ():
        if own.fullmatch(path.name) is None and not is_system(path.name):
            raise OutputError(
                f"{path} is no patch that was cut from {name}, and its folder would be replaced by those; move it "
                "away, rename the slide, or write to another folder"
            )


def _in_names(name: str) -> str:
    """Brackets would be read as labels."""
    return re.sub(r"[\[\]]", "_", result_name(name))


def _labelled(
    view: View, regions: Sequence[Region], cut: Cut, classes: TissueClasses, name: str
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Corners of patches in pixels of the view, and their labels."""
    import shapely

    by_class: list[Any] = [
        shapely.union_all([region.geometry for region in regions if region.name == class_name])
        for class_name in classes.names
    ]
    everything = shapely.union_all(by_class)
    (width, height), (sx, sy) = view.size, view.scale
    if not shapely.intersects(everything, shapely.box(0, 0, width * sx, height * sy)):
        raise DataError(
            f"none of the {len(regions)} regions of {name} lies on the slide ({round(width * sx)} x "
            f"{round(height * sy)} pixels); give the regions that were drawn on it"
        )
    shapely.prepare(everything)
    left, top, right, bottom = shapely.bounds(everything)
    x = _starts(width, cut, left / sx, right / sx)
    for y in _starts(height, cut, top / sy, bottom / sy).tolist():
        boxes = shapely.box(x * sx, y * sy, (x + cut.side) * sx, (y + cut.side) * sy)
        near = shapely.intersects(everything, boxes)
        areas = cut.side**2 * sx * sy
        inside = shapely.area(shapely.intersection(everything, boxes[near])) / areas >= cut.minimum_inside - _EXACT
        for left, box in zip(x[near][inside].tolist(), boxes[near][inside], strict=True):
            shares = shapely.area(shapely.intersection(by_class, box)) / areas
            labels = tuple((shares >= cut.minimum_share - _EXACT).astype(int).tolist())
            if any(labels):
                yield left, y, labels


def _starts(length: int, cut: Cut, first: float, last: float) -> Int[np.ndarray, " n"]:
    """Where patches begin along a side of the view, of those that reach from `first` to `last`."""
    starts = np.arange(0, length - cut.side + 1, cut.stride)
    return starts[(starts + cut.side >= first) & (starts <= last)]


_EXACT = 1e-9
"""What arithmetic may take from a share."""

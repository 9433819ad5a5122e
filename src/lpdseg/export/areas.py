"""How much of a slide each tissue class covers, as numbers and as a table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lpdseg.export.bands import BAND_ROWS, label_bands
from lpdseg.files import write_text
from lpdseg.slides.label_map import LabelMap


@dataclass(frozen=True)
class ClassArea:
    """The area of one class on one slide.

    - `name`: of the class.
    - `pixels`: of the mask.
    - `mm2`: square millimetres.
    - `percent`: of the tissue, 0..100: of all pixels that have a class. Background and glass that was not computed
      are no tissue. 0 where there is no tissue.
    """

    name: str
    pixels: int
    mm2: float
    percent: float


def class_areas(label_map: LabelMap) -> list[ClassArea]:
    """The area of each class, in the order of the classes; the mask is read in bands."""
    classes = label_map.classes
    pixels = [0] * len(classes)
    for _, band in label_bands(label_map):
        for left in range(0, band.shape[1], BAND_ROWS):
            labels = band[:, left : left + BAND_ROWS]
            # Most of a slide is glass. Several times as fast as `bincount`, which makes indices of all labels.
            for c in range(int(labels.min()), len(classes)):
                pixels[c] += int(np.count_nonzero(labels == c))
    tissue, mm2 = sum(pixels), label_map.mpp[0] * label_map.mpp[1] / 1e6
    return [
        ClassArea(name, count, count * mm2, 100 * count / tissue if tissue else 0.0)
        for name, count in zip(classes.names, pixels, strict=True)
    ]


def write_areas(areas: Mapping[str, Sequence[ClassArea]], path: Path, about: str = "") -> None:
    """Writes a CSV with one row per slide and class, as pandas and R group and pivot it.

    Its columns:

    - `slide`: the key in `areas`, such as the slide's stem.
    - `class`: name of the tissue class; each slide has a row for every class, also where its area is 0.
    - `pixels`: of the mask.
    - `mm2`: area in square millimetres.
    - `percent_of_tissue`: 0..100; background and glass that was not computed are no tissue.
    - `about`: what the model was trained on and what its masks are for, in every row.

    **Raises:** `OutputError` where the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slide", "class", "pixels", "mm2", "percent_of_tissue", "about"])
    for slide, rows in areas.items():
        for row in rows:
            writer.writerow([slide, row.name, row.pixels, f"{row.mm2:.6g}", f"{row.percent:.4f}", about])
    write_text(path, text.getvalue())

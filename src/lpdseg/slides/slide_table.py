"""A CSV that lists slides, and how many microns their pixels have.

Its columns are `slide` (a path relative to the CSV's folder, or absolute) and optionally `mpp`, or `mpp_x` and
`mpp_y`; an empty cell leaves it to the slide's metadata. Other columns do not matter.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from lpdseg.data.manifest import csv_rows
from lpdseg.files import as_on_disk
from lpdseg.slides.slide import SlideError


def read_slide_table(csv_path: Path) -> Iterator[tuple[Path, tuple[float, float] | None, str]]:
    """Each line's slide, its (x, y) microns per pixel where told, and where that stands, for errors.

    **Raises:** `DataError` that names the file and the line for anything missing or no number.
    """
    rows = csv_rows(csv_path)
    _, header = next(rows, (1, []))
    if "slide" not in header:
        raise SlideError(
            f"{csv_path}, line 1: no column 'slide' among {', '.join(header) or 'none'}; the header must be "
            "comma-separated, and in lower case"
        )
    columns: list[str] = [name for name in ("mpp", "mpp_x", "mpp_y") if name in header]
    if columns not in ([], ["mpp"], ["mpp_x", "mpp_y"]) or len(set(header)) != len(header):
        raise SlideError(
            f"{csv_path}, line 1: the columns are {', '.join(header)}; use slide, and either mpp or mpp_x and mpp_y"
        )
    empty = True
    for line, cells in rows:
        where = f"{csv_path}, line {line}"
        if len(cells) != len(header):
            raise SlideError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        if not row["slide"]:
            raise SlideError(f"{where}: the cell 'slide' is empty")
        empty = False
        path = as_on_disk(Path(os.path.normpath(csv_path.parent / row["slide"])))
        yield path, _mpp(row, columns, where), where
    if empty:
        raise SlideError(f"{csv_path} lists no slides; add one line for each")


def _mpp(row: dict[str, str], columns: list[str], where: str) -> tuple[float, float] | None:
    told = [row[name] for name in columns if row[name]]
    if not told:
        return None
    if len(told) != len(columns):
        raise SlideError(f"{where}: only one of mpp_x and mpp_y is told; give both")
    values = []
    for text in told:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise SlideError(f"{where}: {text!r} is no number of microns per pixel")
        values.append(value)
    return values[0], values[-1]

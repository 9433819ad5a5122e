"""CSVs that list slides and their microns per pixel."""

import math
from pathlib import Path

from lpdseg.slides.slide_table import read_slide_table
from mutations import csv_changed as mutate

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 1000


def seeds(folder: Path) -> list[bytes]:
    return [b"slide,mpp\na.svs,0.25\nb/c.tif,\n", b"slide,mpp_x,mpp_y,note\n/x/a.svs,0.25,0.26,old\n"]


def parse(data: bytes, folder: Path) -> None:
    path = folder / "slides.csv"
    path.write_bytes(data)
    for _, mpp, _ in read_slide_table(path):
        assert mpp is None or all(map(math.isfinite, mpp))

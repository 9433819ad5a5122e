"""Areas per class: what pandas reads is what the mask holds."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lpdseg.errors import OutputError
from lpdseg.export.areas import class_areas, write_areas
from lpdseg.export.bands import label_bands
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), background=2)
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 255]))


def label_map(mask: np.ndarray) -> LabelMap:
    return LabelMap(mask, (4.0, 4.0), (2.0, 3.0), (mask.shape[1] * 4, mask.shape[0] * 4), CLASSES)


@given(mask=MASKS, rows=st.integers(1, 5))
def test_bands_together_are_the_mask(mask: np.ndarray, rows: int) -> None:
    tops, bands = zip(*label_bands(label_map(mask), rows), strict=True)
    np.testing.assert_array_equal(np.concatenate(bands), mask)
    assert list(tops) == list(range(0, mask.shape[0], rows))


@given(mask=MASKS)
def test_areas_count_pixels_and_only_tissue_counts_as_tissue(mask: np.ndarray) -> None:
    rows = class_areas(label_map(mask))
    assert [row.name for row in rows] == ["tumour", "stroma"]
    tissue = int((mask < 2).sum())
    for c, row in enumerate(rows):
        assert row.pixels == (mask == c).sum()
        assert row.mm2 == pytest.approx(row.pixels * 6e-6)
        assert row.percent == (pytest.approx(100 * row.pixels / tissue) if tissue else 0)


def test_the_table_has_a_row_per_slide_and_class(tmp_path: Path) -> None:
    mask = np.array([[0, 0, 1], [2, 0, 255]], np.uint8)
    empty = np.full((2, 2), 2, np.uint8)
    write_areas(
        {"a, b": class_areas(label_map(mask)), "c": class_areas(label_map(empty))}, tmp_path / "x.csv", "Of test."
    )
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "slide": "a, b", "class": "tumour", "pixels": "3", "mm2": "1.8e-05", "percent_of_tissue": "75.0000",
        "about": "Of test.",
    }  # fmt: skip
    assert [(row["slide"], row["class"], row["pixels"]) for row in rows[1:]] == [
        ("a, b", "stroma", "1"),
        ("c", "tumour", "0"),
        ("c", "stroma", "0"),
    ]


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_areas({}, tmp_path / "file" / "x.csv")

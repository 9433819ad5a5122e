"""Patches from regions: which are cut, what they show, and what they are called."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpdseg.data.regions import Region
from lpdseg.errors import DataError, OutputError, SettingsError
from lpdseg.export.tiles import Cut, write_tiles
from lpdseg.slides.tissue_mask import TissueMask
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"))


class FakeView:
    """Each pixel's red and green are its column and row."""

    size, scale, wanted = (40, 30), (2.0, 2.0), 0.5

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        rows, columns = np.mgrid[y : y + height, x : x + width]
        return np.stack([columns, rows, 0 * rows], 2).astype(np.uint8)


def cut(out: Path, regions: list[Region], cutting: Cut, tissue: TissueMask | None = None) -> list:
    return write_tiles(
        FakeView(), regions, out, cutting, classes=CLASSES, name="s1", patient="p1", split="train", tissue=tissue
    )


def region(name: str, *box: float) -> Region:
    return Region(name, shapely.box(*box))


BOXES = st.tuples(st.integers(0, 60), st.integers(0, 50), st.integers(4, 50), st.integers(4, 50))


@given(
    boxes=st.lists(st.tuples(st.sampled_from(CLASSES.names), BOXES), min_size=1, max_size=4),
    side=st.integers(3, 12),
    stride=st.integers(2, 12),
    share=st.sampled_from([0.05, 0.3, 1.0]),
    inside=st.sampled_from([0.2, 0.95, 1.0]),
)
def test_labels_and_places_are_those_of_a_drawn_mask(
    boxes: list[tuple[str, tuple[int, int, int, int]]],
    side: int,
    stride: int,
    share: float,
    inside: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    drawn = np.zeros((2, 60, 80), bool)  # at level 0
    regions = []
    for name, (x, y, width, height) in boxes:
        drawn[CLASSES.names.index(name), y : y + height, x : x + width] = True
        regions.append(region(name, x, y, x + width, y + height))
    expected = {}
    for y in range(0, 30 - side + 1, stride):
        for x in range(0, 40 - side + 1, stride):
            window = drawn[:, 2 * y : 2 * (y + side), 2 * x : 2 * (x + side)]
            labels = tuple(int(value) for value in window.mean((1, 2)) >= share - 1e-12)
            if window.any(0).mean() >= inside - 1e-12 and any(labels):
                expected[f"s1_{2 * x}_{2 * y}.png"] = labels
    out = tmp_path_factory.mktemp("tiles")
    records = cut(out, regions, Cut(side, stride, share, inside))
    assert {record.path.name: record.labels for record in records} == expected
    folder = out / "patches" / "s1"
    assert sorted(path.name for path in folder.glob("*")) == sorted(expected)
    for record in records[:2]:
        x, y = (int(part) // 2 for part in record.path.stem.split("_")[1:])
        with Image.open(record.path) as image:
            np.testing.assert_array_equal(np.asarray(image), FakeView().read(x, y, side, side))


def test_of_a_large_slide_only_what_regions_reach_is_looked_at(tmp_path: Path) -> None:
    view = FakeView()
    view.size = (64_000_000, 64_000_000)  # patches of all of it would never end
    small = region("tumour", 32_000_000, 64_000_000, 32_000_020, 64_000_020)
    cutting = Cut(10, 10, 0.5, 0.5)
    found = write_tiles(view, [small], tmp_path, cutting, classes=CLASSES, name="s1", patient="p1", split="train")
    assert [record.path.name for record in found] == ["s1_32000000_64000000.png"]


def test_records_tell_patient_split_and_resolution(tmp_path: Path) -> None:
    (record, *_) = cut(tmp_path, [region("tumour", 0, 0, 80, 60)], Cut(10, 10))
    assert (record.patient, record.split, record.mpp, record.mask) == ("p1", "train", 0.5, None)
    assert record.path == tmp_path / "patches" / "s1" / "s1_0_0.png"


def test_patches_that_do_not_touch_tissue_are_passed_over(tmp_path: Path) -> None:
    found = np.zeros((3, 4), bool)
    found[:, 3] = True
    tissue = TissueMask(found, (10.0, 10.0))  # a mask pixel around what is found counts as tissue
    records = cut(tmp_path, [region("tumour", 0, 0, 80, 60)], Cut(10, 10), tissue)
    assert {record.path.name.split("_")[1] for record in records} == {"40", "60"}


def test_cutting_again_replaces_the_patches(tmp_path: Path) -> None:
    regions = [region("tumour", 0, 0, 80, 60)]
    assert len(cut(tmp_path, regions, Cut(10, 10))) == 12
    records = cut(tmp_path, regions, Cut(15, 15))
    assert sorted((tmp_path / "patches" / "s1").iterdir()) == sorted(record.path for record in records)
    assert cut(tmp_path, regions, Cut(31, 1)) == []
    assert sorted((tmp_path / "patches" / "s1").iterdir()) == sorted(record.path for record in records)  # as before


def test_regions_of_another_slide(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 1 regions of s1 lies on the slide \(80 x 60 pixels\)"):
        cut(tmp_path, [region("tumour", 100, 0, 200, 60)], Cut(10, 10))
    with pytest.raises(DataError, match="none of the 0 regions"):
        cut(tmp_path, [], Cut(10, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0), (1, 1, 0.0), (1, 1, 1.1), (1, 1, 0.1, float("nan"))])
def test_figures_that_make_no_sense(wrong: tuple) -> None:
    with pytest.raises(SettingsError, match=r"patches must be|is in 0..1 and not 0"):
        Cut(*wrong)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "patches").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        cut(tmp_path, [region("tumour", 0, 0, 80, 60)], Cut(10, 10))

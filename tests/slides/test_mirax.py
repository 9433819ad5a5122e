"""MIRAX slides without their folder, or with a part of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.slides.mirax import check_mirax_folder
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import SlideError

INDEX = "[DATAFILE]\nFILE_COUNT = 2\nFILE_0 = Data0000.dat\nFILE_1 = Data0001.dat\n[H]\nINDEXFILE = Index.dat\n"


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A `.mrxs` alone is a small JPEG."""
    Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(tmp_path / "case.1.mrxs", format="JPEG")
    return tmp_path / "case.1.mrxs"


def test_a_slide_without_its_folder(slide: Path) -> None:
    pytest.importorskip("openslide")
    with pytest.raises(
        SlideError, match=r"case\.1\.mrxs has no folder case\.1 beside it, which holds its pixels; copy"
    ):
        open_slide(slide)


def test_a_folder_that_was_copied_in_part(slide: Path) -> None:
    folder = slide.with_suffix("")
    folder.mkdir()
    (folder / "Data0000.dat").write_bytes(b"x")
    with pytest.raises(SlideError, match=r"Slidedat\.ini is missing in case\.1; copy the folder again"):
        check_mirax_folder(slide)
    (folder / "Slidedat.ini").write_text(INDEX, encoding="utf-8-sig")
    with pytest.raises(SlideError, match=r"Data0001\.dat is missing in case\.1 \(2 files in all\); copy"):
        check_mirax_folder(slide)
    (folder / "Data0001.dat").write_bytes(b"x")
    with pytest.raises(SlideError, match=r"Index\.dat is missing in case\.1; copy"):
        check_mirax_folder(slide)
    (folder / "Index.dat").write_bytes(b"x")
    check_mirax_folder(slide)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("\n" * 1_000_000, "no error"),  # what looks for lines must not go over all of them from each
        ("FILE_0 = " + "a" * 5000, "a is missing"),  # a name that no system has
        ("FILE_0 = a\0b", "is missing"),
        ("\n" * (2 << 20), "more than 1 MiB"),
        ("FILE_0 = x\n" * 1001, "names 1,001 files"),
    ],
    ids=["lines", "long name", "no name", "large", "many"],
)
def test_a_hostile_index(slide: Path, index: str, told: str) -> None:
    folder = slide.with_suffix("")
    folder.mkdir()
    (folder / "Slidedat.ini").write_text(index)
    try:
        check_mirax_folder(slide)
    except SlideError as error:
        assert told in str(error) and len(str(error)) <= 500
    else:
        assert told == "no error"

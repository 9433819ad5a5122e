from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.slides.readers import SlideFile
from lpdseg.workflows.slides.mpp_table import with_table


def test_a_table_speaks_for_slides_by_name(tmp_path: Path) -> None:
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nb.svs,0.25\nold/a,0.5\nelsewhere.svs,3\nc.svs,\n")
    slides = [
        SlideFile(Path("x/a.svs"), None),
        SlideFile(Path("y/b.svs"), (1.0, 1.0)),
        SlideFile(Path("c.svs"), None),
    ]
    assert [slide.mpp for slide in with_table(slides, table)] == [(0.5, 0.5), (1.0, 1.0), None]
    assert with_table(slides, None) == slides


def test_tables_that_cannot_be_meant(tmp_path: Path) -> None:
    slides, table = [SlideFile(Path("a.svs"), None)], tmp_path / "mpp.csv"
    with pytest.raises(DataError, match=r"mpp\.csv does not exist; give a CSV"):
        with_table(slides, table)
    table.write_text("slide,mpp\nb.svs,0.25\n")
    with pytest.raises(DataError, match=r"names none of the slides, for instance not a\.svs"):
        with_table(slides, table)
    table.write_text("slide,mpp\na.svs,0.25\na,0.5\n")
    with pytest.raises(DataError, match=r"different microns per pixel for a\.svs and a; keep one"):
        with_table(slides, table)
    table.write_text("slide,mpp\na.svs,0.25\nx/a.svs,0.5\n")
    with pytest.raises(DataError, match=r"line 3: a\.svs has other microns per pixel"):
        with_table(slides, table)

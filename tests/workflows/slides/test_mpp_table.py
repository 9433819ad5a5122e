import os
from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.slides.readers import SlideFile
from lpdseg.workflows.slides.mpp_table import with_table


def test_a_table_speaks_for_slides_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nb.svs,0.25\nold/a,0.5\nelsewhere.svs,3\nc.svs,\n")
    slides = [
        SlideFile(Path("x/a.svs"), None),
        SlideFile(Path("y/b.svs"), (1.0, 1.0)),
        SlideFile(Path("c.svs"), None),
    ]
    found = with_table(slides, table)
    assert [slide.mpp for slide in found] == [(0.5, 0.5), (1.0, 1.0), None]
    assert [record.getMessage() for record in caplog.records] == [
        f"{table}: 1 of 4 lines name none of the 3 slides: elsewhere.svs",
        f"{table} has 0.25 microns per pixel for b.svs, but the CSV that lists the slide 1, which was used",
    ]
    assert with_table(slides, None) == slides


def test_names_match_however_their_letters_are_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "mpp.csv"
    composed, decomposed = "Sch\u00e4fer.svs", "Scha\u0308fer.svs"
    for here, there in ((composed, decomposed), (decomposed, composed)):
        table.write_text(f"slide,mpp\n{here},0.5\n", encoding="utf-8")
        found = with_table([SlideFile(Path("x", there), None)], table)
        assert found[0].mpp == (0.5, 0.5) and not caplog.records
    table.write_text("slide,mpp\nSch\\xE4fer,0.5\n")
    found = with_table([SlideFile(Path("x", os.fsdecode(b"Sch\xe4fer.svs")), None)], table)
    assert found[0].mpp == (0.5, 0.5)


def test_tables_that_cannot_be_meant(tmp_path: Path) -> None:
    slides, table = [SlideFile(Path("a.svs"), None)], tmp_path / "mpp.csv"
    with pytest.raises(DataError, match=r"mpp\.csv does not exist; give a CSV"):
        with_table(slides, table)
    table.write_text("slide,mpp\nb.svs,0.25\n")
    with pytest.raises(DataError, match=r"names none of the slides, for instance not a\.svs"):
        with_table(slides, table)
    for text in ("slide,microns\na.svs,0.25\n", "slide,mpp\na.svs,\n"):
        table.write_text(text)
        with pytest.raises(DataError, match=r"mpp\.csv tells no microns per pixel of any slide"):
            with_table(slides, table)
    table.write_text("slide,mpp\na.svs,0.25\na,0.5\n")
    with pytest.raises(DataError, match=r"different microns per pixel for a\.svs and a; keep one"):
        with_table(slides, table)
    table.write_text("slide,mpp\na.svs,0.25\nx/a.svs,0.5\n")
    with pytest.raises(DataError, match=r"line 3: a\.svs has other microns per pixel"):
        with_table(slides, table)

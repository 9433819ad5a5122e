"""Tables that remember earlier runs."""

import csv
from pathlib import Path

import pytest

from lpdseg.errors import OutputError
from lpdseg.workflows.tables import read_table, write_table


def test_rows_of_earlier_runs_stay_with_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    write_table(path, "slide", ["slide", "mm2_A", "note"], [{"slide": "p2/x", "mm2_A": 1, "note": ""}])
    write_table(path, "slide", ["slide", "mm2_B"], [{"slide": "p1/x", "mm2_B": 2}, {"slide": "p3/x", "mm2_B": 3}])
    write_table(path, "slide", ["slide", "mm2_B"], [{"slide": "p3/x", "mm2_B": 4}])
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == ["slide", "mm2_B", "mm2_A"]  # of the note nothing is left
        assert list(reader) == [
            {"slide": "p1/x", "mm2_B": "2", "mm2_A": ""},
            {"slide": "p2/x", "mm2_B": "", "mm2_A": "1"},
            {"slide": "p3/x", "mm2_B": "4", "mm2_A": ""},
        ]


def test_what_is_no_such_table_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    assert read_table(path, "slide") == {}
    path.touch()
    assert read_table(path, "slide") == {}
    for content in (b"image,mask\na,b\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(OutputError, match=r"summary\.csv .* choose another folder"):
            write_table(path, "slide", ["slide"], [{"slide": "x"}])
        assert path.read_bytes() == content


@pytest.mark.parametrize("text", ["\nimage,mask\na.png,b.png\n", "\n\n\nx\n"])
def test_a_table_whose_first_line_is_empty_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text(text)
    with pytest.raises(OutputError, match="a row per nothing"):
        read_table(tmp_path / "summary.csv", "image")

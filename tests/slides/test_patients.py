"""Patients of slides, from tables."""

from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.slides.patients import read_patients


def test_tables_tell_patients_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("slide,patient,mpp\nsub/s1.svs,p1,0.5\ns2.svs,,\n")
    (tmp_path / "b.csv").write_text("patient,slide\np3,s3.tif\np1,s1.svs\n")
    (tmp_path / "c.csv").write_text("slide,mpp\ns4.svs,0.5\n")
    inputs = [tmp_path / "a.csv", str(tmp_path / "b.csv"), tmp_path / "c.csv", tmp_path, tmp_path / "none.csv"]
    assert read_patients(inputs) == {"s1": "p1", "s3": "p3"}


def test_a_slide_of_two_patients(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("slide,patient\ns1.svs,p1\ns1.svs,p2\n")
    with pytest.raises(DataError, match=r"a\.csv, line 3: s1 is of patient p2, but also of p1"):
        read_patients([tmp_path / "a.csv"])

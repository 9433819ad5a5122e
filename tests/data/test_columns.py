"""Columns of a manifest that look like classes and are none."""

from pathlib import Path

import pytest

from lpdseg.data.columns import Column
from lpdseg.data.manifest import read_manifest
from lpdseg.errors import DataError
from lpdseg.tissue import PRESETS, TissueClasses

AB = TissueClasses(("A", "B"))


def table(folder: Path, *lines: str) -> Path:
    path = folder / "m.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "name",
    ["fold", "Fold", "CV_fold", "index", "patch_id", "slide-id", "site", "age", "sex", "label count", "n_labels"],
)
def test_facts_about_patches_are_no_classes(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, f"path,A,B,split,{name}", "a.png,1,0,train,0", "b.png,0,1,train,1")
    manifest = read_manifest(path)
    assert manifest.classes == AB
    assert manifest.notes[0] == "the columns A, B are taken for the classes"
    assert f"columns that are not taken for classes: {name}; name the classes with --classes" in manifest.notes[1]
    named = read_manifest(path, AB)
    assert (named.classes, named.records) == (AB, manifest.records)
    assert named.notes == (f"columns that are not taken for classes: {name}; they are not among the classes",)


def test_a_fact_is_a_class_where_a_person_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, "path,A,fold,split", "a.png,1,0,train", "b.png,0,1,train")
    manifest = read_manifest(path, TissueClasses(("A", "fold")))
    assert ([record.labels for record in manifest.records], manifest.notes) == ([(1, 0), (0, 1)], ())


def test_columns_of_other_values_are_no_classes(tmp_path: Path) -> None:
    path = table(tmp_path, "path,STR,BEN,MAL,split,surgeon", "a.png,1,0,0,train,Ada", "b.png,0,1,1,train,")
    manifest = read_manifest(path)
    assert manifest.classes is PRESETS["glas"]
    assert manifest.notes[0].startswith("columns that are not taken for classes: surgeon")


def test_the_index_of_a_data_frame_has_no_name(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, ",path,A,B,split", "0,a.png,1,0,train", "1,b.png,0,1,train"))
    assert manifest.classes == AB
    assert "unnamed: 0" in manifest.notes[1]


def test_classes_without_a_column_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "path,A,B,split,fold", "a.png,1,0,train,0")
    with pytest.raises(DataError, match=r"columns are A, B, but the classes are A, B, C; there is no column for C"):
        read_manifest(path, TissueClasses(("A", "B", "C")))
    with pytest.raises(DataError, match=r"columns are A, B, but the classes are x, y; there is no column for x, y"):
        read_manifest(path, TissueClasses(("x", "y")))
    unlabelled = read_manifest(table(tmp_path, "path,split,fold,mask", "a.png,test,0,a.tif"), AB)
    assert unlabelled.records[0].labels is None
    with pytest.raises(DataError, match=r"no class columns; label cannot be classes; add a column of 0 and 1"):
        read_manifest(table(tmp_path, "path,label,split", "a.png,3,train"))


def test_a_single_wrong_cell_does_not_unmake_a_class() -> None:
    assert Column.of("A", ["0", "1", "x", "", "1.0"]).may_be_class
    assert not Column.of("A", ["x", "y", "1"]).may_be_class
    assert Column.of("A", ["", ""]).bits == 0


def test_a_name_that_is_no_utf_8_comes_back(tmp_path: Path) -> None:
    from lpdseg.data.manifest import write_manifest
    from lpdseg.data.records import Manifest, PatchRecord

    raw = tmp_path / "caf\udce9.png"
    raw.write_bytes(b"x")
    record = PatchRecord(raw, (1, 0), "train", "p")
    write_manifest(Manifest(AB, (record,), tmp_path), tmp_path / "m.csv")
    assert r"caf\xE9.png" in (tmp_path / "m.csv").read_text()
    assert read_manifest(tmp_path / "m.csv").records == (record,)

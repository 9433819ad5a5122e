import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.data.classes_file import read_classes, write_classes
from lpdseg.data.manifest import MANIFEST_FILE, Manifest, PatchRecord, read_manifest, write_manifest
from lpdseg.errors import DataError
from lpdseg.tissue import PRESETS, TissueClasses

CLASSES = TissueClasses(("A", "B"), indices=(3, 5), background=0)


def csv_file(folder: Path, text: str) -> Path:
    path = folder / MANIFEST_FILE
    path.write_text(text)
    return path


def test_every_column_is_read_and_records_are_sorted_by_path(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "path,B,A,split,patient,mask,mpp,Subtype\n"
        "train/b.png,0,1,training,p2,,0.5,\n"
        "train/a.png,1.0,0.0,train,p1,,,\n\n"
        "v.png,,,Val,p3,m.png,,tubular\n",
    )
    manifest = read_manifest(path, CLASSES)
    assert manifest.records == (
        PatchRecord(tmp_path / "train/a.png", (0, 1), "train", "p1"),
        PatchRecord(tmp_path / "train/b.png", (1, 0), "train", "p2", mpp=0.5),
        PatchRecord(tmp_path / "v.png", None, "valid", "p3", tmp_path / "m.png", subtype="tubular"),
    )
    assert manifest.splits == ("train", "valid")
    assert [record.patient for record in manifest.split("train")] == ["p1", "p2"]
    with pytest.raises(DataError, match=r"has no 'test' patches; the splits it has: train, valid"):
        manifest.split("test")


def test_patient_and_mpp_come_from_the_file_name_when_their_cells_are_empty(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "path,A,B,split\nTCGA-A1-A0SK-DX1_xmin1_MPP-0.25+0.png,1,0,train\n")
    (record,) = read_manifest(path).records
    assert (record.patient, record.mpp) == ("TCGA-A1-A0SK", 0.25)


def test_a_spreadsheet_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "\ufeffpath,A,B,split\r\nx.png,1,0,test\r\n")
    assert read_manifest(path).splits == ("test",)


def test_classes_are_given_or_of_the_yaml_or_a_preset_or_the_columns(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "path,STR,BEN,MAL,split\nx.png,1,0,0,train\n")
    assert read_manifest(path).classes is PRESETS["glas"]
    other = csv_file(tmp_path, "path,x,y,split\nx.png,1,0,train\n")
    assert read_manifest(other).classes == TissueClasses(("x", "y"))
    (tmp_path / "classes.yaml").write_text("names: [y, x]\nbackground: 7\n")
    described = read_manifest(other)
    assert described.classes == TissueClasses(("y", "x"), background=7)
    assert described.records[0].labels == (0, 1)  # by name, not by column order
    assert read_manifest(other, TissueClasses(("x", "y"))).records[0].labels == (1, 0)


def test_unlabelled_test_patches_need_no_class_columns_when_the_classes_are_given(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "path,split,mask\nx.png,test,m.png\n")
    assert read_manifest(path, CLASSES).records[0].labels is None
    with pytest.raises(DataError, match="no class columns"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,A,B\nx.png,1,0\n", r"manifest\.csv, line 1: no column 'split'"),
        ("", r"manifest\.csv is empty; write a header"),
        ("path,A,B,split,Mask,MASK\nx,1,0,train,,\n", r"line 1: columns need different"),
        (
            "path;A;B;split\nx.png;1;0;train\n",
            r"line 1: no column 'path'; the header must be comma-separated",
        ),
        ("path,A,A,split\nx,1,0,train\n", r"line 1: columns need different, non-empty names"),
        ("path,A,B,split\n", r"lists no patches"),
        ("path,A,C,split\nx,1,0,train\n", r"line 1: the class columns are A, C, but the classes are A, B"),
        ("path,A,B,split\nx,1,0\n", r"line 2: 3 cells, but the header has 4 columns"),
        ("path,A,B,split\nx,1,0,train\n\n./x,1,0,test\n", r"line 4: .*x is already on line 2"),
        ("path,A,B,split\n,1,0,train\n", r"line 2: the cell `path` is empty"),
        ("path,A,B,split\nx,1,2,train\n", r"line 2, column 'B': '2' is no label; write 0 or 1"),
        ("path,A,B,split\nx,1,,valid\n", r"line 2, column 'B': '' is no label"),
        ("path,A,B,split\nx,,,train\n", r"line 2: a training patch needs a 0 or 1 for each of A, B"),
        ("path,A,B,split\nx,1,0,dev\n", r"line 2: 'dev' is no split; use train, valid, test"),
        ("path,A,B,split,mpp\nx,1,0,train,-1\n", r"line 2, column 'mpp': '-1' is no microns per pixel"),
        ("path,A,B,split,mpp\nx,1,0,train,nan\n", r"'nan' is no microns per pixel"),
        ('path,A,B,split\n"x,1,0,train\n', r"is no comma-separated UTF-8 file"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(csv_file(tmp_path, text), CLASSES)


def test_a_training_patch_of_no_class_needs_a_background(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "path,A,B,split\nx,0,0,train\n")
    assert read_manifest(path, CLASSES).records[0].labels == (0, 0)
    with pytest.raises(DataError, match=r"line 2: this training patch has none of the classes A, B"):
        read_manifest(path)


def test_a_missing_csv_and_a_bad_yaml_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere\.csv: No such file"):
        read_manifest(tmp_path / "nowhere.csv")
    path = csv_file(tmp_path, "path,A,B,split\nx,1,0,train\n")
    yaml = tmp_path / "classes.yaml"
    for text, message in [
        ("[", "is no valid YAML"),
        ("- A", "must be a mapping"),
        ("names: [A, A]", "names that differ in more"),
        ("names: 3", "names of tissue classes must be a list"),
        ("colours: []", "need names"),
    ]:
        yaml.write_text(text)
        with pytest.raises(DataError, match=rf"classes\.yaml.*{message}"):
            read_manifest(path)


NAMES = st.text(st.characters(whitelist_categories=("L", "N"), whitelist_characters=", \"'-[]"), min_size=1)
WORDS = NAMES.map(str.strip).filter(bool)


@given(
    rows=st.dictionaries(
        WORDS,
        st.tuples(
            st.sampled_from([(0, 1), (1, 1), (1, 0), (0, 0)]),
            st.sampled_from(["train", "valid", "test"]),
            WORDS,
            st.none() | WORDS,
            st.none() | st.floats(0.01, 100),
            st.none() | WORDS,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("data")
    records = [
        PatchRecord(folder / name, labels, split, patient, mask and folder / "masks" / mask, mpp, subtype=subtype)
        for name, (labels, split, patient, mask, mpp, subtype) in rows.items()
    ]
    path = folder / MANIFEST_FILE
    written = Manifest(CLASSES, tuple(sorted(records, key=lambda record: record.path.as_posix())), path)
    write_manifest(written, path)
    assert read_manifest(path) == written


def test_a_class_may_not_be_named_like_a_column(tmp_path: Path) -> None:
    manifest = Manifest(TissueClasses(("mask", "B")), (), tmp_path)
    with pytest.raises(DataError, match="cannot be named 'mask'"):
        write_manifest(manifest, tmp_path / MANIFEST_FILE)


def test_paths_outside_the_folder_stay_absolute(tmp_path: Path) -> None:
    record = PatchRecord(tmp_path / "elsewhere/x.png", (1, 0), "train", "p")
    path = tmp_path / "here" / MANIFEST_FILE
    write_manifest(Manifest(CLASSES, (record,), path), path)
    assert read_manifest(path).records == (record,)


def small_data_set(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    (folder / "b.png").write_bytes(b"b")
    (folder / "m.png").write_bytes(b"m")
    return csv_file(folder, "path,A,B,split,mask\na.png,1,0,train,\nb.png,,,valid,m.png\n")


def test_a_fingerprint_knows_content_and_not_place(tmp_path: Path) -> None:
    path = small_data_set(tmp_path / "one")
    before = read_manifest(path).fingerprint()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert read_manifest(tmp_path / "two" / MANIFEST_FILE).fingerprint() == before
    seen = {before}
    for name, content in [("a.png", b"x"), ("m.png", b"x")]:
        (tmp_path / "one" / name).write_bytes(content)
        seen.add(read_manifest(path).fingerprint())
    for text in [
        "path,A,B,split,mask\na.png,0,1,train,\nb.png,,,valid,m.png\n",
        "path,A,B,split,mask\na.png,0,1,train,\nb.png,,,test,m.png\n",
        "path,A,B,split,mask\na.png,0,1,train,\nb.png,,,test,\n",
    ]:
        seen.add(read_manifest(csv_file(tmp_path / "one", text)).fingerprint())
    assert len(seen) == 6
    (tmp_path / "one" / "a.png").unlink()
    with pytest.raises(DataError, match=r"cannot read .*a\.png"):
        read_manifest(path).fingerprint()


def test_names_of_classes_yaml_are_taken_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text(
        "names: [NO, yes, 1e3, 010, null, 2020-01-01]\nindices: [010, 1, 2, 3, 4, 5]\n"
        "background: null\ncolours: ~\n"
    )
    classes = read_classes(tmp_path)
    assert classes is not None
    assert classes.names == ("NO", "yes", "1e3", "010", "null", "2020-01-01")
    assert (classes.indices[0], classes.background) == (10, None)
    write_classes(classes, tmp_path)
    assert read_classes(tmp_path) == classes


def test_the_fixed_columns_may_be_written_in_capitals(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Path,A,B,SPLIT,Patient,Mask,MPP\nx.png,1,0,train,p9,m.png,0.5\n")
    (record,) = read_manifest(path).records
    assert (record.patient, record.mask, record.mpp) == ("p9", tmp_path / "m.png", 0.5)


@pytest.mark.parametrize("name", ["classes.yml", "Classes.yaml"])
def test_a_file_of_classes_under_another_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("names: [A, B]\n")
    if not (tmp_path / "classes.yaml").exists():  # on disks where case counts
        with pytest.raises(DataError, match=rf"{name} is not read under that name; call it classes\.yaml"):
            read_classes(tmp_path)


@pytest.mark.parametrize("told", ["1e308", "1e-320", "0.0009", "1001", "inf", "nan", "-0.5", "0", "half"])
def test_microns_per_pixel_that_no_image_has(tmp_path: Path, told: str) -> None:
    """A checkpoint would keep them, and could not be read again."""
    path = tmp_path / "manifest.csv"
    path.write_text(f"path,split,a,mpp\nx.png,train,1,{told}\n")
    with pytest.raises(DataError, match=rf"line 2, column 'mpp': '{told}' is no microns per pixel, 0.001"):
        read_manifest(path)


@pytest.mark.parametrize("told", ["0.0001", "99999", "0.0000"])
def test_a_name_that_tells_what_no_image_has_tells_nothing(tmp_path: Path, told: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(f"path,split,a\nx_MPP-{told}.png,train,1\n")
    assert read_manifest(path).records[0].mpp is None

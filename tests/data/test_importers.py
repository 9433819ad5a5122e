from pathlib import Path

import pytest

from lpdseg.data.importers import load_data, unlisted_masks
from lpdseg.data.manifest import MANIFEST_FILE, read_manifest, write_manifest
from lpdseg.errors import DataError
from lpdseg.tissue import PRESETS, TissueClasses

AB = TissueClasses(("A", "B"))


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("train", "valid", "label", "preset"),
    [
        ("train", "valid", "[1101]", "bcss"),
        ("training", "val", "[1 1 0 1]", "luad"),
        ("train/img", "Valid", "[1, 0, 0]", "wsss4luad"),
    ],
)
def test_layouts_of_the_published_data_sets(
    tmp_path: Path, train: str, valid: str, label: str, preset: str
) -> None:
    touch(tmp_path, f"{train}/7-1-{label}.PNG", f"{valid}/img/8-1.png", f"{valid}/mask/8-1.tif")
    touch(tmp_path, "test/img/9-1.jpeg", "test/img/9-2.png", "test/mask/9-1.png")
    touch(tmp_path, f"{train}/._7-1-{label}.png", f"{train}/Thumbs.db", "test/img/.hidden.png", ".git/x.png")
    manifest = load_data(tmp_path)
    assert manifest.classes is PRESETS[preset]
    assert "pass --classes" in manifest.notes[0]
    assert [(record.split, record.patient) for record in manifest.records] == [
        (record.split, record.patient) for record in sorted(manifest.records, key=lambda r: r.path.as_posix())
    ]
    (learn,), (choose,), test = (manifest.split(name) for name in ("train", "valid", "test"))
    assert learn.labels == tuple(int(digit) for digit in label if digit in "01")
    assert learn.mask is None
    assert (choose.labels, choose.mask) == (None, tmp_path / valid / "mask/8-1.tif")
    assert [record.mask for record in test] == [tmp_path / "test/mask/9-1.png", None]


def test_labels_without_a_preset_give_generic_classes_and_say_so(tmp_path: Path) -> None:
    touch(tmp_path, "train/a[110].png", "train/b[011].png", "valid/img/c[010].png")
    manifest = load_data(tmp_path)
    assert manifest.classes.names == ("class_0", "class_1", "class_2")
    assert "pass --classes" in manifest.notes[0]
    assert manifest.split("valid")[0].labels == (0, 1, 0)
    named = load_data(tmp_path, PRESETS["glas"])
    assert (named.classes, named.notes) == (PRESETS["glas"], ())


def test_one_misnamed_file_gets_the_blame_and_not_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "train/a[11].png", "train/b[011].png", "train/c[111].png")
    with pytest.raises(DataError, match=r"a\[11\]\.png.* has 2 digits, but 3 are expected"):
        load_data(tmp_path)


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_folder_per_class(tmp_path: Path, prefix: str) -> None:
    touch(tmp_path, f"{prefix}B/p1_x.png", f"{prefix}A/p2_x.jpg", f"{prefix}.cache/x.png")
    manifest = load_data(tmp_path)
    assert manifest.classes.names == ("A", "B")
    assert [(record.split, record.labels, record.patient) for record in manifest.records] == [
        ("train", (1, 0), "p2"),
        ("train", (0, 1), "p1"),
    ]
    with pytest.raises(DataError, match=r"A is the folder of no class; the classes are B, C"):
        load_data(tmp_path, TissueClasses(("B", "C")))


def test_class_folders_for_training_and_masks_for_validation(tmp_path: Path) -> None:
    touch(tmp_path, "train/MAL/a.png", "train/BEN/b.png", "train/STR/c.png", "val/img/d.png", "val/mask/d.png")
    manifest = load_data(tmp_path)
    assert manifest.classes is PRESETS["glas"]
    assert manifest.split("valid")[0].mask == tmp_path / "val/mask/d.png"


def test_a_manifest_is_found_in_its_folder_and_a_layout_can_become_one(tmp_path: Path) -> None:
    touch(tmp_path, "train/a[10].png", "test/img/c.png", "test/img/d.png", "test/mask/c.png")
    imported = load_data(tmp_path, AB)
    write_manifest(imported, tmp_path / MANIFEST_FILE)
    for source in (tmp_path, tmp_path / MANIFEST_FILE):
        manifest = load_data(source)
        assert manifest == read_manifest(tmp_path / MANIFEST_FILE)
        assert (manifest.records, manifest.classes) == (imported.records, AB)


def test_classes_yaml_in_the_folder_is_used(tmp_path: Path) -> None:
    touch(tmp_path, "train/a[10].png")
    (tmp_path / "classes.yaml").write_text("names: [A, B]\n")
    assert load_data(tmp_path).classes == AB


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["readme.txt"],
            r"holds no data set: looked for manifest\.csv, for images in train.* folder of images per class",
        ),
        (["img/a.png", "mask/a.png"], "holds no data set"),
        (["valid/img/a.png", "valid/mask/a.png"], "no labels that tell its classes; give them with --classes"),
        (["train/a.png", "train/b[10].png"], r"train/a\.png: a training patch needs its label in its name"),
        (["train/a[00].png"], r"train/a\[00\]\.png: this training patch has none of the classes"),
        (["val/img/a.png", "valid/img/a.png"], "has val/ and valid/ for one split"),
        (["train/a[1].png", "test/img/b.png", "test/mask/b.png", "test/mask/b.tif"], r"b\.png and b\.tif for one"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        load_data(tmp_path)


def test_sources_that_are_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing does not exist; give a manifest CSV or the folder"):
        load_data(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"a\.png is no data set"):
        load_data(touch(tmp_path, "a.png") / "a.png")


def test_masks_that_no_patch_uses(tmp_path: Path) -> None:
    touch(
        tmp_path, "train/a[10].png", "train/mask/a[10].png", "test/img/b.png", "test/mask/b.png", "test/mask/c.png"
    )
    manifest = load_data(tmp_path, AB)
    assert unlisted_masks(manifest) == {
        "train": (tmp_path / "train/mask/a[10].png",),
        "test": (tmp_path / "test/mask/c.png",),
    }
    write_manifest(manifest, tmp_path / MANIFEST_FILE)
    assert unlisted_masks(load_data(tmp_path)) == {}

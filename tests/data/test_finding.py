"""Folders as people have them: what is used, and what is said of the rest."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lpdseg.data.importers import load_data, unlisted_masks
from lpdseg.data.records import Manifest
from lpdseg.errors import DataError
from lpdseg.tissue import PRESETS, TissueClasses

AB = TissueClasses(("A", "B"))
TRAIN = ("train/q1_a[10].png", "train/q2_a[01].png")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A builder of folders of empty files."""

    def build(*names: str) -> Path:
        for name in names:
            path = tmp_path / "d" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "d"

    return build


def rows(manifest: Manifest) -> list[tuple[str, str, object, str]]:
    return [
        (record.path.relative_to(manifest.source).as_posix(), record.split, record.labels, record.patient)
        for record in manifest.records
    ]


def said(manifest: Manifest) -> str:
    return "; ".join(manifest.notes)


def test_wsss4luad_as_its_organisers_publish_it(folder: Callable[..., Path]) -> None:
    source = folder("1.training/436124-7578-18920-[1, 0, 0].png", "1.training/436125-7578-18920-[0, 1, 1].png")
    for split in ("2.validation", "3.testing"):
        folder(f"{split}/img/00.png", f"{split}/mask/00.png", f"{split}/background-mask/00.png")
    manifest = load_data(source)
    assert manifest.classes is PRESETS["wsss4luad"]
    assert manifest.splits == ("train", "valid", "test")
    assert manifest.split("test")[0].mask == source / "3.testing/mask/00.png"
    assert {record.patient for record in manifest.records} == {"436124", "436125", "valid_00", "test_00"}
    assert "2.validation/background-mask (1), 3.testing/background-mask (1)" in said(manifest)


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("IMG", "Mask"), ("image", "label"), ("imgs", "GT"), ("Images", "annotations")],
)
def test_folders_of_images_beside_folders_of_masks(folder: Callable[..., Path], images: str, masks: str) -> None:
    source = folder(*TRAIN, f"valid/{images}/v.png", f"valid/{masks}/v.png")
    assert load_data(source, AB).split("valid")[0].mask == source / "valid" / masks / "v.png"


def test_splits_below_images_and_masks(folder: Callable[..., Path]) -> None:
    source = folder("images/train/a[10].png", "images/val/v.png", "masks/val/v_mask.png", "masks/train/a[10].png")
    manifest = load_data(source, AB)
    assert [record.mask for record in manifest.records] == [None, source / "masks/val/v_mask.png"]


def test_images_and_masks_without_split_are_no_classes(folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"holds no data set: images/ lies in no split.* x\[10\]\.png"):
        load_data(folder("images/a.png", "masks/a.png"))


def test_labelled_images_without_split_are_to_learn_from(folder: Callable[..., Path]) -> None:
    manifest = load_data(folder("images/b_1[10].png", "masks/b_1[10].png"), AB)
    assert rows(manifest) == [("images/b_1[10].png", "train", (1, 0), "b")]


def test_a_folder_of_labelled_images_is_a_training_split(folder: Callable[..., Path]) -> None:
    assert rows(load_data(folder("q1_a[10].png", "q2_a[01].png"), AB)) == [
        ("q1_a[10].png", "train", (1, 0), "q1"),
        ("q2_a[01].png", "train", (0, 1), "q2"),
    ]


def test_folders_below_those_of_classes_are_patients(folder: Callable[..., Path]) -> None:
    source = folder("train/A/q0.png", "train/B/P7/q.png", "train/B/P8/s1/q.bmp", "train/B/masks/q.png")
    manifest = load_data(source)
    assert rows(manifest) == [
        ("train/A/q0.png", "train", (1, 0), "q0"),
        ("train/B/P7/q.png", "train", (0, 1), "P7"),
        ("train/B/P8/s1/q.bmp", "train", (0, 1), "P8"),
    ]
    assert "patients are taken to be the folders that images lie in: train (2)" in said(manifest)


def test_folders_of_labelled_images_are_patients_and_no_classes(folder: Callable[..., Path]) -> None:
    source = folder("train/P1/a[10].png", "train/P2/a[01].png", "valid/img/P3/v.png", "valid/mask/P3/v.png")
    manifest = load_data(source, AB)
    assert [(split, labels, patient) for _, split, labels, patient in rows(manifest)] == [
        ("train", (1, 0), "P1"),
        ("train", (0, 1), "P2"),
        ("valid", None, "P3"),
    ]
    assert manifest.split("valid")[0].mask == source / "valid/mask/P3/v.png"


def test_copies_named_by_windows_keep_their_classes(folder: Callable[..., Path]) -> None:
    assert load_data(folder("A/x.png", "A/x[1].png", "B/y[0].png")).classes == AB


def test_what_is_passed_over_is_counted(folder: Callable[..., Path], tmp_path: Path) -> None:
    source = folder(
        "train/A/q.png", "train/C/r.png", "train/A/notes.txt", "holdout/x.png", "holdout/y.png", "z.png"
    )
    folder(
        "Thumbs.db", "@eaDir/x.png", "train/.ipynb_checkpoints/q.png", "results/masks/q.png", "results/segment.json"
    )
    (source / "train/B").mkdir()
    (source / "valid").mkdir()
    manifest = load_data(source)
    assert manifest.classes.names == ("A", "C")
    assert len(manifest.records) == 2
    told = said(manifest)
    assert "the folder itself (1), holdout (2)" in told
    assert "without an image: train/B, valid" in told
    assert "1 .txt" in told and "eaDir" not in told
    assert "results of earlier runs: results/masks" in told


def test_results_of_an_earlier_run_are_no_class(folder: Callable[..., Path]) -> None:
    source = folder("A/q.png", "B/r.png", "masks/A/q.png", "overlays/A/q.png", "segment.json", "summary.csv")
    assert load_data(source).classes == AB


def test_images_that_would_be_lost_are_an_error(folder: Callable[..., Path]) -> None:
    source = folder(*TRAIN)
    for number in range(50):
        (source / f"train/z{number:02d}_a[10].png").symlink_to(f"/nowhere/{number}.png")
    with pytest.raises(
        DataError, match=r"50 links lead nowhere \(train/z00_a\[10\]\.png, .*\(50 in all\)\); restore"
    ):
        load_data(source, AB)


def test_pictures_of_other_kinds_are_an_error(folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"2 pictures are of kinds that are not read \(train/B/q\.jp2, .*as PNG"):
        load_data(folder("train/A/q.png", "train/B/q.jp2", "train/B/r.GIF"))


def test_linked_folders_are_followed(folder: Callable[..., Path], tmp_path: Path) -> None:
    source = folder("A/q.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "r.png").touch()
    (source / "B").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(source)
    manifest = load_data(source)
    assert (manifest.classes, len(manifest.records)) == (AB, 2)
    assert "links to folders that are searched already: B/circle" in said(manifest)


def test_the_folder_around_a_data_set_is_refused(folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"its splits lie in .*WSSS4LUAD; give that folder"):
        load_data(folder("WSSS4LUAD/1.training/a[1, 0, 0].png", "WSSS4LUAD/2.validation/img/a.png"))


@pytest.mark.parametrize("pair", [("images", "img"), ("labels", "mask")])
def test_two_folders_of_one_meaning_are_refused(folder: Callable[..., Path], pair: tuple[str, str]) -> None:
    rest = ("valid/img/v.png", "valid/mask/v.png")
    with pytest.raises(DataError, match=rf"valid/{pair[0]}/ and valid/{pair[1]}/ .*keep one"):
        load_data(folder(*TRAIN, *rest, *(f"valid/{name}/v.png" for name in pair)), AB)


def test_a_stale_manifest_is_told(folder: Callable[..., Path]) -> None:
    source = folder("train/a.png", "train/b.png", "valid/img/c.png", "valid/mask/c.png", "valid/mask/d.png")
    (source / "manifest.csv").write_text("path,A,B,split\ntrain/a.png,1,1,train\n")
    manifest = load_data(source)
    assert "manifest.csv lists 1 patches; 2 other images below its folder are not in it" in said(manifest)
    (source / "manifest.csv").write_text(
        "path,A,B,split\ntrain/a.png,1,1,train\ntrain/b.png,1,0,train\nvalid/img/c.png,,,valid\n"
    )
    assert "other images" not in said(load_data(source))


def test_classes_that_are_not_those_of_the_data(folder: Callable[..., Path]) -> None:
    with pytest.raises(
        DataError, match=r"the 2 file names .* of 2 digits, but 3 are expected, .* x, y, z; name the 2"
    ):
        load_data(folder(*TRAIN), TissueClasses(("x", "y", "z")))


def test_a_class_without_a_folder_is_named(folder: Callable[..., Path]) -> None:
    with pytest.raises(
        DataError, match=r"a is the folder of no class; the classes are A, B \(A without a folder\)"
    ):
        load_data(folder("a/q.png", "B/q.png"), AB)
    with pytest.raises(DataError, match="cannot be named 'ignored'"):
        load_data(folder("ignored/q.png"))


def test_names_that_are_no_utf_8(folder: Callable[..., Path]) -> None:
    source = folder("train/A/q.png", "train/B/r.png")
    (source / "train/B").rename(source / "train" / os.fsdecode(b"St\xe4"))
    (source / "train/A/q.png").rename(source / "train/A" / os.fsdecode(b"caf\xe9_1.png"))
    manifest = load_data(source)
    assert manifest.classes.names == ("A", r"St\xE4")
    assert {record.patient for record in manifest.records} == {r"caf\xE9", "r"}
    assert len(manifest.fingerprint()) == 64


def test_a_mask_is_found_however_its_letters_are_written(folder: Callable[..., Path]) -> None:
    composed, decomposed = "Sch\u00e4fer", "Scha\u0308fer"
    source = folder(*TRAIN, f"valid/img/{composed}.png", f"valid/mask/{decomposed}.png")
    [record] = load_data(source, AB).split("valid")
    assert record.mask == source / "valid" / "mask" / f"{decomposed}.png"


@pytest.mark.parametrize("form", ["{split}_{kind}", "{kind}-{split}", "{split}{kind}"])
def test_folders_named_after_split_and_kind_are_no_classes(folder: Callable[..., Path], form: str) -> None:
    names = {pair: form.format(split=pair[0], kind=pair[1]) for pair in [("Train", "images"), ("Train", "masks")]}
    names |= {pair: form.format(split=pair[0], kind=pair[1]) for pair in [("test", "img"), ("test", "GT")]}
    train, masks, test, truth = names.values()
    source = folder(f"{train}/q1_a[10].png", f"{masks}/q1_a[10].png", f"{test}/v.png", f"{truth}/v.png")
    manifest = load_data(source, AB)
    assert [record.path.parent.name for record in manifest.split("train")] == [train]
    assert [record.mask for record in manifest.split("test")] == [source / truth / "v.png"]
    assert unlisted_masks(manifest) == {"train": (source / masks / "q1_a[10].png",)}


@pytest.mark.parametrize("name", ["v_mask.png", "v-GT.png", "v_anno.bmp", "v_segmentation_mask.png", "mask_v.png"])
def test_masks_may_lie_beside_their_images(folder: Callable[..., Path], name: str) -> None:
    source = folder(*TRAIN, "valid/v.png", f"valid/{name}", "valid/tissue_label.png")
    records = load_data(source, AB).split("valid")
    assert [(record.path.name, record.mask) for record in records] == [
        ("tissue_label.png", None),  # no image is called `tissue`, so it is an image itself
        ("v.png", source / "valid" / name),
    ]


def test_masks_beside_the_images_of_a_class_are_no_images_of_it(folder: Callable[..., Path]) -> None:
    manifest = load_data(folder("A/x.png", "A/x_mask.png", "B/y.png"))
    assert [record.path.name for record in manifest.records] == ["x.png", "y.png"]
    assert unlisted_masks(manifest) == {"train": (manifest.source / "A/x_mask.png",)}


@pytest.mark.parametrize("lost", ["valid/mask/v.npy", "test/img/t.npy", "train/q3_a[10].svs", "valid/mask/v.gif"])
def test_arrays_slides_and_masks_that_are_not_read_are_an_error(folder: Callable[..., Path], lost: str) -> None:
    with pytest.raises(DataError, match="1 pictures are of kinds that are not read"):
        load_data(folder(*TRAIN, "valid/img/v.png", lost), AB)


def test_images_in_no_split_are_named_where_nothing_tells_classes(folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"images \(valid\) but no labels.*not used.*train_1 \(2\)"):
        load_data(folder("train_1/a[10].png", "train_1/b[01].png", "valid/img/v.png", "valid/mask/v.png"))


def test_splits_within_classes_are_refused(folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"A, .*B; put the folders of the splits outermost"):
        load_data(folder("A/train/x.png", "B/test/y.png"))


@pytest.mark.parametrize(
    ("images", "masks"), [("images_png", "masks_png"), ("img_dir", "ann_dir"), ("JPEGImages", "SegmentationClass")]
)
def test_what_names_say_of_files_does_not_matter(folder: Callable[..., Path], images: str, masks: str) -> None:
    source = folder(*TRAIN, f"valid/{images}/v.png", f"valid/{masks}/v.png")
    assert load_data(source, AB).split("valid")[0].mask == source / "valid" / masks / "v.png"


@pytest.mark.parametrize("names", [("Tissue Images", "binary_masks"), ("imagesTr", "labelsTr"), ("HE", "my-GT")])
def test_folders_that_sound_like_masks_are_no_classes_unasked(
    folder: Callable[..., Path], names: tuple[str, str]
) -> None:
    source = folder(f"{names[0]}/a.png", f"{names[1]}/a.png")
    with pytest.raises(DataError, match=rf"{names[1]}/ sounds like masks .* --classes {names[0]},{names[1]}"):
        load_data(source)
    assert load_data(source, TissueClasses(names)).classes.names == names
    assert load_data(folder("../e/label_0/a.png", "../e/label_1/b.png").parent / "e").classes.names[0] == "label_0"

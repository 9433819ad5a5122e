import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.check import check_data
from lpdseg.data.check_report import CheckReport, Problem
from lpdseg.data.importers import load_data
from lpdseg.data.manifest import MANIFEST_FILE, read_manifest
from lpdseg.data.mask_values import declare_values
from lpdseg.tissue import PRESETS, TissueClasses

AB = TissueClasses(("A", "B"), background=2)


class DataSet:
    """A data set of noise without a fault; tests break one thing each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._noise = np.random.default_rng(0)
        for name in ("train/p1_a[10].png", "train/p1_b[11].png", "train/p2_a[01].png", "valid/img/p3_a.png"):
            self.image(name)
        self.mask("valid/mask/p3_a.png", [[0, 0, 1, 2], [0, 0, 0, 255]])

    def image(self, name: str, mode: str = "RGB", size: tuple[int, int] = (2, 4)) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self._noise.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    def mask(self, name: str, values: list[list[int]]) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(values, np.uint8)).save(path)
        return path

    def check(self) -> CheckReport:
        return check_data(load_data(self.folder, AB), workers=2)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return DataSet(tmp_path)


def only(problems: tuple[Problem, ...]) -> tuple[str, tuple[str, ...]]:
    (problem,) = problems
    return problem.kind, problem.files


def test_a_sound_data_set_has_counts_and_no_problems(data: DataSet) -> None:
    report = data.check()
    assert report.ok
    assert (report.errors, report.warnings) == ((), ())
    assert report.patches == {"train": 3, "valid": 1}
    assert report.patients == {"train": 2, "valid": 1}
    assert report.masks == {"train": 0, "valid": 1}
    assert report.unlabelled == {"train": 0, "valid": 1}
    assert report.labels == {"train": (2, 2), "valid": (0, 0)}
    assert report.together == ((2, 1), (1, 2))
    assert report.sizes == {"4 x 2": 4}
    assert report.mask_shares == {"valid": {"A": 5 / 8, "B": 1 / 8, "background": 1 / 8, "ignored": 1 / 8}}
    again = json.loads(json.dumps(report.as_dict()))
    assert again["ok"] is True
    assert again["labels"] == {"train": [2, 2], "valid": [0, 0]}


def test_every_patch_is_told(data: DataSet) -> None:
    told = []
    check_data(load_data(data.folder, AB), workers=1, on_patch=lambda: told.append(1))
    assert len(told) == 4


def break_truncated(data: DataSet) -> None:
    path = data.image("train/p2_x[01].png", size=(40, 40))
    path.write_bytes(path.read_bytes()[:2000])


def break_value(data: DataSet) -> None:
    data.mask("valid/mask/p3_a.png", [[0, 0, 1, 7], [0, 0, 0, 0]])


def break_mask_size(data: DataSet) -> None:
    data.mask("valid/mask/p3_a.png", [[0]])


def break_patient(data: DataSet) -> None:
    data.image("valid/img/p1_z.png")
    data.mask("valid/mask/p1_z.png", [[0] * 4] * 2)


def break_patient_in_capitals(data: DataSet) -> None:
    data.image("valid/img/P1_z.png")
    data.mask("valid/mask/P1_z.png", [[0] * 4] * 2)


def break_names_of_masks(data: DataSet) -> None:
    (data.folder / "valid/mask/p3_a.png").rename(data.folder / "valid/mask/truth1.png")


def break_copy(data: DataSet) -> None:
    # The same pixels in another file: only decoding tells.
    Image.open(data.folder / "train/p1_a[10].png").save(data.folder / "valid/img/p3_a.tif")
    (data.folder / "valid/img/p3_a.png").unlink()


def break_class(data: DataSet) -> None:
    for name in ("p1_b[11].png", "p2_a[01].png"):
        (data.folder / "train" / name).unlink()
    data.image("train/p2_n[00].png")


@pytest.mark.parametrize(
    ("break_it", "kind", "told"),
    [
        (break_truncated, "unreadable-image", "train/p2_x[01].png cannot be decoded"),
        (lambda data: data.image("train/p1_a[10].png", "RGBA"), "image-mode", "train/p1_a[10].png has mode RGBA"),
        (lambda data: data.image("valid/mask/p3_a.png"), "mask-mode", "valid/mask/p3_a.png has mode RGB;"),
        (lambda data: (data.folder / "valid/mask/p3_a.png").write_bytes(b"x"), "unreadable-mask", "valid/mask"),
        (break_value, "mask-values", "valid/mask/p3_a.png holds the values 7;"),
        (break_mask_size, "mask-size", "valid/img/p3_a.png: image 4 x 2, mask 1 x 1"),
        (break_patient, "patient-in-two-splits", "p1: 2 in train, 1 in valid"),
        (break_patient_in_capitals, "patient-in-two-splits", "p1: 2 in train, 1 in valid"),
        (break_names_of_masks, "masks-match-no-image", "valid/mask/truth1.png"),
        (break_copy, "image-in-two-splits", "train/p1_a[10].png = valid/img/p3_a.tif"),
        (break_class, "class-never-in-training", "B"),
    ],
)
def test_each_error_is_found_alone(data: DataSet, break_it, kind: str, told: str) -> None:  # type: ignore[no-untyped-def]
    break_it(data)
    report = data.check()
    assert not report.ok
    found, files = only(report.errors)
    assert found == kind
    assert len(files) == 1
    assert files[0].startswith(told)


@pytest.mark.parametrize(
    ("break_it", "kind", "files"),
    [
        (lambda data: data.mask("train/mask/p1_a.png", [[0]]), "training-masks", ("train/mask/p1_a.png",)),
        (lambda data: data.mask("valid/mask/no.png", [[0]]), "mask-without-image", ("valid/mask/no.png",)),
        (lambda data: data.image("valid/img/p3_b.png"), "image-without-mask", ("valid/img/p3_b.png",)),
        (lambda data: (data.folder / "valid/mask/p3_a.png").unlink(), "no-valid-masks", ("valid/img/p3_a.png",)),
        (lambda data: data.image("test/img/p4_a.png"), "no-test-masks", ("test/img/p4_a.png",)),
        (
            lambda data: data.image("train/p2_b[01].png", size=(3, 4)),
            "sizes-differ",
            ("4 x 2: 4 images", "4 x 3: 1 images"),
        ),
        (lambda data: (data.folder / "train/p2_a[01].png").unlink(), "class-in-every-patch", ("A",)),
        (
            lambda data: (data.folder / "train/p1_a[10].png").rename(data.folder / "train/p1_a[00].png"),
            "class-never-alone",
            ("A",),
        ),
    ],
)
def test_each_warning_is_found_alone_and_is_no_error(  # type: ignore[no-untyped-def]
    data: DataSet, break_it, kind: str, files: tuple[str, ...]
) -> None:
    break_it(data)
    report = data.check()
    assert report.ok
    assert only(report.warnings) == (kind, files)


def test_splits_that_are_absent_are_warnings(data: DataSet) -> None:
    shutil.rmtree(data.folder / "valid")
    assert only(data.check().warnings)[0] == "no-valid"


def test_a_test_set_alone_can_be_checked(tmp_path: Path) -> None:
    data = DataSet(tmp_path)
    shutil.rmtree(tmp_path / "train")
    report = data.check()
    assert report.ok
    assert report.together == ()
    assert only(report.warnings)[0] == "no-train"


def test_blank_patches_may_be_in_two_splits(data: DataSet) -> None:
    for name in ("train/p1_w[00].png", "valid/img/p3_w.png"):
        Image.new("RGB", (4, 2), "white").save(data.folder / name)
    data.mask("valid/mask/p3_w.png", [[2] * 4] * 2)
    assert data.check().ok


def test_a_manifest_csv_with_training_masks_and_a_missing_image(data: DataSet) -> None:
    path = data.folder / MANIFEST_FILE
    path.write_text(
        "path,A,B,split,patient,mask\n"
        "train/p1_a[10].png,1,0,train,x,m.png\ntrain/gone.png,0,1,train,x,\n"
        "valid/img/p3_a.png,,,valid,y,valid/mask/p3_a.png\n"
    )
    report = check_data(read_manifest(path, AB), workers=1)
    kind, files = only(report.errors)
    assert (kind, files[0].split()[0]) == ("unreadable-image", "train/gone.png")
    kept, broken = report.warnings
    assert (kept.kind, kept.files) == ("training-masks", ("m.png",))
    assert broken.kind == "training-mask-faults"
    assert broken.files[0] == "train/gone.png: no mask" and broken.files[1].startswith("m.png does not exist")


@pytest.mark.skipif("LPDSEG_DATA" not in os.environ, reason="LPDSEG_DATA does not point at real data")
def test_real_patches_have_no_errors() -> None:
    folder = Path(os.environ["LPDSEG_DATA"]) / "glas-wsss"
    if not folder.is_dir():
        pytest.skip("LPDSEG_DATA has no glas-wsss")
    started = time.perf_counter()
    report = check_data(load_data(folder, PRESETS["glas"]), workers=2)
    assert report.ok
    assert report.together[1][2] == 0  # benign and malignant glands never share a patch
    assert time.perf_counter() - started < 60


def kinds(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.kind for problem in problems]


def stripes(*values: int, side: int = 48) -> list[list[int]]:
    return [[values[column * len(values) // side] for column in range(side)]] * side


def large(data: DataSet, *values: int, name: str = "p3_a.png") -> None:
    """Replaces the valid patch by one with stripes as its mask."""
    data.image(f"valid/img/{name}", size=(48, 48))
    data.mask(f"valid/mask/{name}", stripes(*values))


def test_masks_of_0_and_255_are_an_error_with_an_offer(data: DataSet) -> None:
    large(data, 0, 255)
    kind, _ = only(data.check().errors)
    assert kind == "mask-values-left-out"
    assert "--mask-value 255=B" in data.check().errors[0].message
    declared = check_data(replace(load_data(data.folder), classes=declare_values(AB, ["255=B"])), workers=1)
    assert declared.ok and declared.mask_shares["valid"]["B"] == 0.5


def test_values_that_nobody_declared_come_with_an_offer(data: DataSet) -> None:
    two = TissueClasses(("A", "B"))
    large(data, 1, 2)
    (problem,) = check_data(load_data(data.folder, two), workers=1).errors
    assert problem.kind == "mask-values" and "--mask-value 1=A --mask-value 2=B" in problem.message


def test_a_class_without_a_pixel_and_regions_left_out_are_warnings(data: DataSet) -> None:
    large(data, 0, 2, 255)
    report = data.check()
    told = {problem.kind: problem.files for problem in report.warnings}
    assert report.ok
    assert told["class-without-pixels"] == ("valid: B",)
    assert told["much-left-out"] == ("valid: 33.3% of the mask pixels have the value 255",)


def test_masks_without_any_tissue_are_an_error(data: DataSet) -> None:
    large(data, 2, 2)
    assert "no-tissue-in-masks" in kinds(data.check().errors)


@pytest.mark.parametrize(
    ("values", "name", "error", "told"),
    [
        ((1, 1), "p3_a[10].png", True, "the mask lacks A; the label lacks B (100%)"),
        ((0, 1), "p3_a[10].png", True, "the label lacks B (50%)"),
        ((0, 0), "p3_a[11].png", True, "the mask lacks B"),
        ((0, 1), "p3_a[11].png", False, None),
        ((0,) * 47 + (1,), "p3_a[10].png", False, "the label lacks B (2%)"),
        ((0, 255), "p3_a[11].png", False, None),  # the rest may be below what is left out
    ],
)
def test_labels_are_compared_with_masks(
    data: DataSet, values: tuple[int, ...], name: str, error: bool, told: str | None
) -> None:
    large(data, 0, 1)
    for folder in ("img", "mask"):
        (data.folder / "valid" / folder / "p3_a.png").unlink()
    large(data, *values, name=name)
    large(data, 0, 1, name="p4_a.png")  # without a label
    report = data.check()
    found = [problem for problem in (*report.errors, *report.warnings) if problem.kind == "label-unlike-mask"]
    assert [problem.files for problem in found] == ([] if told is None else [(f"valid/img/{name}: {told}",)])
    assert ("label-unlike-mask" in kinds(report.errors)) is error


def test_specks_that_a_label_lacks_are_a_note(data: DataSet) -> None:
    values = np.zeros((48, 48), int)
    values[0, :20] = 1
    data.image("valid/img/p3_b[10].png", size=(48, 48))
    data.mask("valid/mask/p3_b[10].png", values.tolist())
    report = data.check()
    assert any("1 masks of the valid split show specks" in note for note in report.notes)
    assert "label-unlike-mask" not in kinds((*report.errors, *report.warnings))


def test_patients_that_nobody_told(tmp_path: Path) -> None:
    data = DataSet(tmp_path)
    shutil.rmtree(tmp_path / "train")
    for index in range(8):
        data.image(f"train/q{index}_a[{index % 2}{1 - index % 2}].png")
    told = {problem.kind: problem.files for problem in data.check().warnings}
    assert told["patients-unknown"] == ("train: 8 files", "valid: 1 files")
    for path in sorted((tmp_path / "train").iterdir()):
        path.rename(path.with_name(f"patient{path.name[1]}_{path.name}"))
    assert "patients-unknown" not in kinds(data.check().warnings)
    assert any("guessed from the beginning" in note for note in data.check().notes)


def test_several_magnifications(data: DataSet) -> None:
    data.image("train/p2_MPP-0.25[01].png")
    data.image("train/p2_MPP-1.0[10].png")
    (problem,) = data.check().warnings
    assert (problem.kind, len(problem.files)) == ("mpp-differs", 4)
    assert problem.files[:2] == ("train: 0.25 µm/px, 1 images", "train: 1 µm/px, 1 images")


def test_an_image_under_two_labels(data: DataSet) -> None:
    shutil.copy(data.folder / "train/p1_a[10].png", data.folder / "train/p1_c[01].png")
    kind, files = only(data.check().warnings)
    assert (kind, files) == ("same-image-other-label", ("train/p1_a[10].png = train/p1_c[01].png",))


def test_classes_that_labels_never_tell_apart(tmp_path: Path) -> None:
    data = DataSet(tmp_path)
    shutil.rmtree(tmp_path / "train")
    for name in ("p1_a[110]", "p1_b[001]", "p2_a[111]", "p2_b[110]"):
        data.image(f"train/{name}.png")
    abc = TissueClasses(("A", "B", "C"), background=3)
    data.mask("valid/mask/p3_a.png", [[0, 0, 1, 2], [0, 0, 0, 3]])
    told = {p.kind: p.files for p in check_data(load_data(tmp_path, abc), workers=1).warnings}
    assert told["classes-always-together"] == ("A and B",)


def test_one_class_without_background_has_no_figure(tmp_path: Path) -> None:
    data = DataSet(tmp_path)
    one = TissueClasses(("A",))
    shutil.rmtree(tmp_path / "train")
    data.image("train/p1_a[1].png")
    large(data, 0, 0)
    report = check_data(load_data(tmp_path, one), workers=1)
    assert kinds(report.errors) == ["one-class-alone"]
    large(data, 0, 255)
    declared = declare_values(one, ["0=background", "255=A"])
    report = check_data(replace(load_data(tmp_path, one), classes=declared), workers=1)
    assert not report.errors


def test_training_masks_that_full_supervision_could_not_use_are_told(data: DataSet) -> None:
    data.mask("m.png", [[0, 1]])
    data.mask("n.png", [[0, 0, 1, 1]] * 2)
    path = data.folder / MANIFEST_FILE
    lines = [
        "train/p1_a[10].png,1,1,train,m.png",
        "train/p2_a[01].png,1,1,train,",
        "train/p1_b[11].png,1,1,train,n.png",
    ]
    path.write_text("path,A,B,split,Mask\n" + "\n".join(lines) + "\n")
    faults = {one.kind: one.files for one in check_data(read_manifest(path, AB), workers=1).warnings}
    assert faults["training-mask-faults"] == (
        "train/p1_a[10].png: image 4 x 2, mask 2 x 1",
        "train/p2_a[01].png: no mask",
    )


def test_one_mask_of_two_images_is_told(data: DataSet) -> None:
    data.image("valid/img/p4_a.png")
    path = data.folder / MANIFEST_FILE
    lines = ["train/p1_b[11].png,1,1,train,"]
    lines += [f"valid/img/{name}.png,,,valid,valid/mask/p3_a.png" for name in ("p3_a", "p4_a")]
    path.write_text("path,A,B,split,mask\n" + "\n".join(lines) + "\n")
    faults = {one.kind: one.files for one in check_data(read_manifest(path, AB), workers=1).warnings}
    assert faults["mask-of-several-images"] == ("valid/mask/p3_a.png",)


def test_blank_images_with_a_label_are_told(data: DataSet) -> None:
    Image.new("RGB", (4, 2)).save(data.folder / "train/p2_black[10].png")
    Image.new("RGB", (4, 2), "white").save(data.folder / "train/p2_glass[00].png")
    assert only(data.check().warnings) == ("blank-but-labelled", ("train/p2_black[10].png",))

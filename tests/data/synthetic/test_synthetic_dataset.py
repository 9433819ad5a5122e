import json

import numpy as np
import pytest
import yaml
from PIL import Image

from lpdseg.data.labels import labels_from_name, mpp_from_name, patient_from_name
from lpdseg.data.manifest import read_manifest
from lpdseg.data.synthetic import CLASSES, SUBTYPES, generate, generate_patch, subtype_path
from lpdseg.errors import DataError, SettingsError

FEW = {
    "size": 56,
    "patches": {"train": 5, "valid": 3, "test": 2},
    "patients": {"train": 2, "valid": 2, "test": 1},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    seen = []
    out = tmp_path_factory.mktemp("synthetic") / "data"
    manifest = generate(out, **FEW, progress=lambda done, total: seen.append((done, total)))
    return out, manifest, seen


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def _files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_folder_has_the_layout_of_bcss_and_says_what_it_holds(built):
    out, manifest, seen = built
    assert [len(manifest.split(split)) for split in manifest.splits] == [5, 3, 2]
    assert manifest.classes == CLASSES
    assert read_manifest(out / "manifest.csv") == manifest
    assert seen == [(done, 10) for done in range(1, 11)]
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.yaml", "dataset.json", "manifest.csv", "subtypes.yaml", "test", "train", "valid",
    ]  # fmt: skip
    assert len(list((out / "train").glob("TRAIN-0?_000?_MPP-0.5000+0[[]????[]].png"))) == 5
    for split, count in (("valid", 3), ("test", 2)):
        names = [
            sorted(path.name for path in (out / split / kind).iterdir()) for kind in ("img", "mask", "subtype")
        ]
        assert len(names[0]) == count and names[0] == names[1] == names[2]
    assert not list(out.rglob("*.tmp*"))


def test_file_names_tell_label_patient_and_scale(built):
    _, manifest, _ = built
    for record in manifest.records:
        assert patient_from_name(record.path) == record.patient
        assert mpp_from_name(record.path) == record.mpp == 0.5
        named = labels_from_name(record.path, len(CLASSES))
        assert named == (record.labels if record.split == "train" else None)


def test_files_hold_the_patches_that_memory_gives(built):
    _, manifest, _ = built
    for record in manifest.records:
        patient, number = int(record.patient.split("-")[1]), int(record.path.name.split("_")[1])
        patch = generate_patch(split=record.split, patient=patient, number=number, size=56)
        np.testing.assert_array_equal(_pixels(record.path), patch.image)
        assert record.labels == patch.labels
        if record.split == "train":
            assert record.mask is None and subtype_path(record) is None
            continue
        np.testing.assert_array_equal(_pixels(record.mask), patch.mask)
        np.testing.assert_array_equal(_pixels(subtype_path(record)), patch.subtypes)


def test_masks_show_the_classes_colours(built):
    _, manifest, _ = built
    for record in manifest.split("valid"):
        with Image.open(record.mask) as image:
            assert image.mode == "P"
            colours = np.asarray(image.convert("RGB"))
            np.testing.assert_array_equal(colours, CLASSES.palette()[np.asarray(image)])


def test_sub_types_are_written_down(built):
    out, _, _ = built
    told = yaml.safe_load((out / "subtypes.yaml").read_text())
    assert {index: (entry["class"], entry["name"]) for index, entry in told.items()} == {
        index: (CLASSES.channel_names[subtype.tissue], subtype.name) for index, subtype in enumerate(SUBTYPES)
    }


def test_patients_of_different_splits_differ(built):
    _, manifest, _ = built
    people = [{record.patient for record in manifest.split(split)} for split in manifest.splits]
    assert [len(names) for names in people] == [2, 2, 1]
    assert len(set.union(*people)) == 5


def test_more_workers_and_more_patches_change_no_patch(built, tmp_path):
    out, _, _ = built
    generate(tmp_path / "more", size=56, patches={"train": 8}, patients={"train": 2}, workers=2)
    there, more = _files(out / "train"), _files(tmp_path / "more" / "train")
    assert len(more) == 8
    assert there.items() <= more.items()


def test_an_interrupted_data_set_is_finished_and_a_damaged_file_made_anew(tmp_path):
    out = tmp_path / "data"

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 7:
            raise StopError

    with pytest.raises(StopError):
        generate(out, **FEW, progress=stop)
    assert not (out / "manifest.csv").exists()
    whole = sorted((out / "train").iterdir())
    whole[0].write_bytes(whole[0].read_bytes()[:500])
    kept = whole[1].stat().st_mtime_ns
    manifest = generate(out, **FEW)
    assert whole[1].stat().st_mtime_ns == kept
    generate(tmp_path / "again", **FEW)
    assert _files(out) == _files(tmp_path / "again")
    assert manifest.fingerprint() == generate(out, **FEW).fingerprint()


def test_training_masks_are_written_on_request_and_change_no_image(built, tmp_path):
    out, plain, _ = built
    masked = generate(tmp_path / "masked", **FEW, train_masks=True)
    before = {name: content for name, content in _files(out).items() if name != "manifest.csv"}
    assert before.items() <= _files(masked.root).items()
    assert read_manifest(masked.root / "manifest.csv") == masked
    assert masked.fingerprint() == plain.fingerprint() != masked.fingerprint(training_masks=True)
    for record in masked.split("train"):
        patient, number = int(record.patient.split("-")[1]), int(record.path.name.split("_")[1])
        patch = generate_patch(split="train", patient=patient, number=number, size=56)
        np.testing.assert_array_equal(_pixels(record.mask), patch.mask)
        np.testing.assert_array_equal(_pixels(subtype_path(record)), patch.subtypes)


def test_training_masks_may_be_added_and_damaged_ones_are_made_anew(tmp_path):
    out = tmp_path / "data"
    generate(out, **FEW)
    wanted = generate(out, **FEW, train_masks=True).split("train")[0].mask
    whole = wanted.read_bytes()
    wanted.write_bytes(whole[:60])
    generate(out, **FEW, train_masks=True)
    assert wanted.read_bytes() == whole
    assert all(record.mask is None for record in generate(out, **FEW).split("train"))


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty and holds no generated data set"):
        generate(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match=r"mine\.txt is a file"):
        generate(tmp_path / "mine.txt", **FEW)


def test_other_settings_in_the_same_folder_are_refused(built):
    out, _, _ = built
    with pytest.raises(DataError, match="was generated with seed = 0, not 1"):
        generate(out, **FEW, seed=1)
    with pytest.raises(DataError, match="was generated with size = 56, not 64"):
        generate(out, **{**FEW, "size": 64})


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"seed": 0})])
def test_a_note_that_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match="choose a new folder"):
        generate(tmp_path, **FEW)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patches": {"training": 3}}, "patches names no split 'training'"),
        ({"patients": {"train": 2, "val": 3}}, "patients names no split 'val'"),
        ({"patches": {"train": 0}}, "patches is 0 in every split"),
        ({"patches": {"train": -1, "test": 2}}, "must be 0 or more in every split"),
        ({"patients": {"train": 2}}, "3 valid patches need at least one patient"),
        ({"workers": 0}, "workers must be 1 or more; got 0"),
        ({"size": 20}, "size must be"),
        ({"seed": -3}, "seed must be"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(SettingsError, match=words):
        generate(tmp_path / "data", **{**FEW, **changes})
    assert not (tmp_path / "data").exists()

"""Corrections that meet a data set."""

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from lpdseg.data.composites import TrainingBatches
from lpdseg.data.corrected import NOBODY, CorrectedPatch, LearntFrom, fit_corrections
from lpdseg.data.corrected_patches import CorrectedBatches, CorrectedPatches
from lpdseg.data.corrections import Corrections, Drawn
from lpdseg.data.cut_slides import CutSlides
from lpdseg.data.dataset import Draw, TrainingPatches
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import DataError
from lpdseg.tissue import IGNORE, TissueClasses
from lpdseg.training.taught import teach

CLASSES = TissueClasses(("a", "b"))


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    """Patches of noise: three to train on, two valid ones of other patients."""
    rng = np.random.default_rng(0)
    records = []
    for name, split, patient in (
        ("train/p_1.png", "train", "p"), ("train/q/p_1.png", "train", "p"), ("train/r 2.png", "train", "r"),
        ("valid/v.png", "valid", "v"), ("valid/w.jpg.png", "valid", "w"),
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(path)
        records.append(PatchRecord(path, (1, 0) if split == "train" else None, split, patient))
    return Manifest(CLASSES, tuple(records), tmp_path)


def box(image: str, name: str, *corners: float) -> Drawn:
    return Drawn(image, name, shapely.box(*corners))


def corrections(*drawn: Drawn, **labels: Any) -> Corrections:
    return Corrections("x.geojson", drawn, labels)


def test_masks_hold_the_last_class_that_was_drawn_over_a_pixels_middle(data: Manifest) -> None:
    line = Drawn("v", "a", shapely.LineString([(0, 8), (24, 8)]), 4)
    [patch] = fit_corrections(corrections(line, box("v", "b", 2, 0, 5.4, 16)), data).patches
    expected = np.full((16, 24), IGNORE, np.uint8)
    expected[6:10] = 0
    expected[:, 2:5] = 1
    np.testing.assert_array_equal(patch.mask((16, 24)), expected)


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("train/r 2.png", "train/r 2.png"),
        ("train/r 2", "train/r 2.png"),
        ("r 2.png", "train/r 2.png"),
        ("./r 2", "train/r 2.png"),
        ("train/p_1.png", "train/p_1.png"),
        ("train/q/p_1", "train/q/p_1.png"),
        ("w.jpg", "valid/w.jpg.png"),
    ],
)
def test_images_are_found_by_path_or_name(image: str, path: str, data: Manifest) -> None:
    [patch] = fit_corrections(corrections(box(image, "a", 0, 0, 5, 5)), data).patches
    assert patch.record.path == data.root / path


def test_labels_follow_what_was_drawn_and_said(data: Manifest) -> None:
    told = corrections(box("r 2", "b", 0, 0, 5, 5), **{"train/p_1": {"a": 0, "b": 1}, "v": {"a": 1}})
    fitted = fit_corrections(told, data)
    assert fitted.labels == {"train/p_1.png": (0, 1), "train/r 2.png": (1, 1)}
    assert len(fitted.patches) == 1
    assert any("labels of 1 patch of valid and test are not learnt" in note for note in fitted.notes)
    assert fit_corrections(corrections(box("r 2", "a", 0, 0, 5, 5)), data).labels == {}
    agreed = fit_corrections(corrections(**{"r 2": {"a": 1}, "train/p_1": {"b": 0}, "train/q/p_1": {"b": 1}}), data)
    assert list(agreed.labels) == ["train/q/p_1.png"]
    assert agreed.notes == ("x.geojson: the labels that it says of 2 training patches are those that they have",)
    one = fit_corrections(corrections(**{"r 2": {"a": 1}}), data)
    assert one.notes == ("x.geojson: the labels that it says of 1 training patch are those that it has",)


def test_what_reaches_beyond_an_image_is_cut_off(data: Manifest) -> None:
    fitted = fit_corrections(corrections(box("v", "b", 20, 10, 1e6, 1e6)), data)
    assert (fitted.patches[0].mask((16, 24)) == 1).sum() == 4 * 6
    assert fitted.notes == ("x.geojson: what was drawn on valid/v.png reaches beyond it and was cut off (1)",)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (corrections(box("s.png", "a", 0, 0, 5, 5)), r"corrects the image 's\.png', which .* does not have"),
        (corrections(box("../v.png", "a", 0, 0, 5, 5)), "does not have"),
        (
            corrections(box("p_1", "a", 0, 0, 5, 5)),
            "several: train/p_1.png and train/q/p_1.png; name its",
        ),
        (corrections(box("v", "a", 24.1, 0, 30, 9)), r"drawn on valid/v\.png as a lies outside of it \(24 x 16"),
        (corrections(box("v", "a", 1.6, 1.6, 2.4, 2.4)), "covers the middle of no pixel; draw it larger"),
        (
            corrections(box("r 2", "b", 0, 0, 5, 5), **{"r 2": {"b": 0}}),
            "train/r 2.png is labelled as without b, which is drawn on it",
        ),
        (corrections(**{"r 2": {"a": 0}}), "train/r 2.png is left without any of the classes a, b"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(wrong: Corrections, told: str, data: Manifest) -> None:
    with pytest.raises(DataError, match=rf"^x\.geojson.*{told}"):
        fit_corrections(wrong, data)


def test_what_was_drawn_on_a_slide_is_spread_over_its_patches(data: Manifest, tmp_path: Path) -> None:
    records = []
    for x in (100, 148):  # neighbours of 24 px, each of 2 px of the slide
        path = tmp_path / "patches" / "case 1" / f"case 1_{x}_200.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16)).save(path)
        records.append(PatchRecord(path, (1, 0), "train", "case 1"))
    slide = {"path": "/slides/case 1.svs", "slide": {"sha256": "0"}, "scale": [2, 2], "origin": [10, 20]}
    (tmp_path / "slides.json").write_text(json.dumps({"case 1": slide}))
    cut = Manifest(CLASSES, tuple(records), tmp_path)
    for image in ("case 1", "case 1.svs", "/slides/case 1.svs"):
        # From (130, 204) on the slide, 10 and 20 less where drawings count from; over the border of the patches.
        fitted = fit_corrections(corrections(box(image, "b", 120, 184, 146, 192)), cut)
        left, right = (one.mask((16, 24)) for one in fitted.patches)
        expected = np.full((2, 16, 24), IGNORE, np.uint8)
        expected[0, 2:6, 15:] = 1
        expected[1, 2:6, :4] = 1
        np.testing.assert_array_equal([left, right], expected)
        assert set(fitted.labels.values()) == {(1, 1)}
        told = f"what was drawn on the slide {image} lies on 2 train patches of case 1"
        assert fitted.notes == (f"x.geojson: {told}",)
    sliver = fit_corrections(corrections(box("case 1", "b", 120, 184, 138.5, 192)), cut)
    assert len(sliver.patches) == 1 and len(sliver.labels) == 1
    with pytest.raises(DataError, match="drawn on case 1 as b lies on none of the patches"):
        fit_corrections(corrections(box("case 1", "b", 0, 0, 20, 20)), cut)
    with pytest.raises(DataError, match="corrects the image 'case 2', which"):
        fit_corrections(corrections(box("case 2", "b", 0, 0, 20, 20)), cut)


def test_whose_the_patches_of_a_slide_are_is_told(data: Manifest, tmp_path: Path) -> None:
    records = []
    for split, patient, x in (("train", "p", 0), ("train", "p", 48), ("valid", "v", 96), ("test", "t", 960)):
        path = tmp_path / split / "case" / f"case_{x}_0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (x % 256, 0, 0)).save(path)
        records.append(PatchRecord(path, (1, 0) if split == "train" else None, split, patient))
    slide = {"path": "case.svs", "slide": {"sha256": "0"}, "scale": [2, 2], "origin": [0, 0]}
    (tmp_path / "slides.json").write_text(json.dumps({"case": slide}))
    cut = Manifest(CLASSES, (*data.records, *records), tmp_path)
    slides = CutSlides(cut)
    assert [astuple(one) for one in slides.parts("case.svs")] == [
        ("case.svs", "test", "t", 1), ("case.svs", "train", "p", 2), ("case.svs", "valid", "v", 1)
    ]  # fmt: skip
    assert slides.parts("other") == []
    fitted = fit_corrections(corrections(box("case.svs", "a", 40, 0, 110, 10), box("v", "a", 0, 0, 5, 5)), cut)
    assert fitted.notes == tuple(
        f"x.geojson: what was drawn on the slide case.svs lies on {told}"
        for told in ("2 train patches of p", "1 valid patch of v, who leaves the figures of valid")
    )
    assert sum(one.patches for one in fitted.slides) == 3 and len(fitted.patches) == 4
    assert LearntFrom.of(fitted.patches).patients["valid"] == ("v",)
    told = teach(corrections(box("case.svs", "a", 40, 0, 110, 10)), cut, NOBODY)[0].told
    assert told is not None and told["slides"][1] == {
        "slide": "case.svs", "split": "valid", "patient": "v", "patches": 1
    }  # fmt: skip


def corrected(data: Manifest, beside: TrainingPatches) -> CorrectedPatches:
    told = corrections(box("v", "b", 0, 0, 6, 6), box("r 2", "a", 0, 0, 24, 16))
    return CorrectedPatches(fit_corrections(told, data).patches, beside)


def test_batches_bring_corrected_patches_that_hang_on_the_draws_alone(data: Manifest) -> None:
    beside = TrainingPatches(data.split("train"), seed=3, jitter=0.1)
    batches = CorrectedBatches(TrainingBatches(beside), corrected(data, beside), every=2)
    draws = [Draw(1, index % 3, index) for index in range(8)]
    whole = batches[draws]
    assert whole["corrected"].shape == (4, 3, 16, 24) and whole["corrected_mask"].shape == (4, 16, 24)
    shown = {tuple(sorted(set(one.flatten().tolist()))) for one in whole["corrected_mask"]}
    assert shown <= {(0,), (1, IGNORE)}
    parts = [batches[draws[:4]], batches[draws[4:]]]  # two processes
    joined = [np.concatenate([part[name].numpy() for part in parts]) for name in sorted(whole)]
    for name, values in zip(sorted(whole), joined, strict=True):
        np.testing.assert_array_equal(values, whole[name].numpy())
    none = batches[[Draw(0, 0, 1)]]
    assert none["corrected"].shape == (0, 3, 16, 24) and none["corrected_mask"].shape == (0, 16, 24)
    plain = TrainingBatches(beside)[draws]
    assert all((plain[name] == whole[name]).all() for name in plain)


def test_all_corrected_patches_are_drawn_alike_and_turn_with_their_masks(data: Manifest) -> None:
    beside = TrainingPatches(data.split("train"), seed=0)
    found = corrected(data, beside)
    picked = [found.pick(Draw(epoch, index)).index for epoch in range(100) for index in range(3)]
    assert 120 < sum(picked) < 180
    corners = set()
    for epoch in range(40):
        one = found.varied(found.pick(Draw(epoch, 0)))
        if (one["mask"] == IGNORE).any():
            where = np.argwhere(one["mask"].numpy() == 1)
            corners.add(tuple(where.min(0)))
            assert len(where) == 36
    assert corners == {(0, 0), (0, 18), (10, 0), (10, 18)}


def test_patches_of_other_sizes_are_brought_to_that_of_training(data: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (48, 48)).save(tmp_path / "valid" / "v.png")
    beside = TrainingPatches(data.split("train"), seed=0, flips=False)
    found = CorrectedPatches(fit_corrections(corrections(box("v", "b", 0, 0, 48, 24)), data).patches, beside)
    layers = found.layers(0)
    assert layers.shape == (16, 24, 4)
    np.testing.assert_array_equal(layers[:, 4:20, 3], np.repeat([1, IGNORE], 8)[:, None].repeat(16, 1))
    assert (layers[:, :4, 3] == IGNORE).all()


def test_learnt_from_is_told_by_contents_and_by_name(data: Manifest) -> None:
    patches = fit_corrections(corrections(box("v", "a", 0, 0, 5, 5), box("r 2", "a", 0, 0, 5, 5)), data).patches
    learnt = LearntFrom.of(patches)
    assert learnt.patients == {"valid": ("v",), "test": ()}
    assert LearntFrom.from_dict(learnt.as_dict()).as_dict() == learnt.as_dict() != NOBODY.as_dict() is None
    left, note = learnt.leave_out(data, "valid")
    assert [record.patient for record in left.split("valid")] == ["w"]
    assert note is not None and "patches of v, so the 1 valid patches of this patient" in note
    assert learnt.leave_out(data, "train") == (data, None) == NOBODY.leave_out(data, "valid")
    others = Manifest(CLASSES, data.records[4:], data.source)
    assert learnt.leave_out(others, "valid") == (others, None)
    both = learnt | LearntFrom.of([CorrectedPatch(data.records[4], (), CLASSES.names)])
    assert both.patients["valid"] == ("v", "w")
    with pytest.raises(DataError, match=r"every valid patient .* \(v, w\), so there is nobody to compare on"):
        both.leave_out(data, "valid")

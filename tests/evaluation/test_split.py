"""Scores of a split beside those of one patch after another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_split import classes_of, draw_split, segmenter_of
from PIL import Image

from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation import split as splits
from lpdseg.evaluation.confusion import confusion_matrix, sum_by_patient
from lpdseg.evaluation.protocol import record
from lpdseg.evaluation.reliability import Reported, described, fit_temperature
from lpdseg.evaluation.split import read_labelled, score_split
from lpdseg.model.lpd import LPD
from lpdseg.tissue import IGNORE

BATCHES = [(3, (37, 53)), (1, (64, 48)), (2, (21, 18))]


@pytest.mark.parametrize("gate", ["predicted", "oracle", "none"])
@pytest.mark.parametrize("rule", ["power", "glass", "none"])
def test_figures_are_those_of_one_patch_after_another(
    rule: str, gate: str, tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_of(tiny_lpd(counts=(2, 2, 2)), classes_of(3, True), background=rule, gate=gate)
    split, matrices, patients, given = draw_split(segmenter, BATCHES), [], [], []
    for batch, evidence in zip(split.batches, split.evidence, strict=True):
        held = torch.tensor([[bool((mask == c).any()) for c in range(3)] for mask in batch.masks])
        masks = segmenter.decide(evidence, batch.images, held).mask.numpy()
        matrices += [confusion_matrix(*pair, 4) for pair in zip(batch.masks, masks, strict=True)]
        patients += batch.patients
    monkeypatch.setattr(splits, "record", lambda *args, **more: given.append(args) or record(*args, **more))
    score_split(segmenter, split, "valid")
    names, sums = sum_by_patient(np.stack(matrices), patients)
    assert names == ("p0", "p1", "p2") and given[0][3] == 6
    np.testing.assert_array_equal(given[0][2], sums)


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_reliability_is_of_every_fourth_pixel_before_refinement(refine: str, tiny_lpd: Callable[..., LPD]) -> None:
    plain = segmenter_of(tiny_lpd(counts=(2, 2, 2)), classes_of(3, True), background="glass", gate="none")
    split = draw_split(plain, BATCHES)
    probabilities, truth = list[np.ndarray](), list[np.ndarray]()
    for batch, evidence in zip(split.batches, split.evidence, strict=True):
        found = plain.decide(evidence, batch.images).probabilities.numpy()[:, :, 2::4, 2::4]
        probabilities.append(np.moveaxis(found, 1, 0).reshape(4, -1))
        truth.append(batch.masks[:, 2::4, 2::4].ravel())
    said = Reported(torch.from_numpy(np.concatenate(probabilities, 1)), torch.from_numpy(np.concatenate(truth)))
    refined = plain.with_settings(refine=refine)
    kept, ignored = score_split(refined, split, "valid", ("keep", "ignore"), find_temperature=True)
    temperature = fit_temperature(said)
    assert 0.1 < temperature < 10 and temperature != 1
    assert kept["reliability"] == described(said, temperature, 4)
    assert ignored["reliability"] == described(said, temperature, 3) != kept["reliability"]
    own = refined.calibrated(replace(plain.calibration, temperature=2.0))
    (given,) = score_split(own, split, "test")
    assert given["reliability"] == described(said, 2.0, 4)
    assert {**given, "reliability": 0, "split": 0} == {
        **kept,
        "reliability": 0,
        "split": 0,
    }  # figures of masks stay


def test_labels_are_the_classes_that_masks_hold_and_are_looked_for_once(
    tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = draw_split(segmenter_of(tiny_lpd(), classes_of(2, True)), BATCHES[:1]).batches[0]
    batch.masks[1] = IGNORE
    expected = [[bool((mask == c).any()) for c in range(2)] for mask in batch.masks]
    fresh = splits.LabelledBatch(batch.images, batch.masks, batch.patients)
    assert fresh.labels(2).tolist() == expected and expected[1] == [False, False]
    monkeypatch.setattr(splits, "MaskPixels", None)
    elsewhere = fresh.placed(fresh.images.clone(), fresh.truth.clone())
    assert fresh.labels(2).tolist() == elsewhere.labels(2).tolist() == expected


def test_patches_of_one_size_are_read_in_batches_in_their_order(tmp_path: Path) -> None:
    records = []
    for number, size in enumerate([20, 20, 20, 16, 20]):
        paths = tmp_path / f"{number}.png", tmp_path / f"{number}-mask.png"
        Image.fromarray(np.full((size, size, 3), number, np.uint8)).save(paths[0])
        Image.fromarray(np.full((size, size), number % 2, np.uint8)).save(paths[1])
        records.append(PatchRecord(paths[0], None, "valid", f"p{number}", mask=paths[1]))
    found = read_labelled(records, classes_of(2, False), 2, "valid")
    assert [batch.patients for batch in found] == [("p0", "p1"), ("p2",), ("p3",), ("p4",)]
    assert [batch.images[:, 0, 0, 0].tolist() for batch in found] == [[0, 1], [2], [3], [4]]
    assert [batch.truth[:, 0, 0].tolist() for batch in found] == [[0, 1], [0], [1], [0]]
    records[2].path.write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.png"):
        read_labelled(records, classes_of(2, False), 2, "valid")

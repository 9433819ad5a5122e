"""What edits do to masks, against plain loops over pixels."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lpdseg.choices import Gate
from lpdseg.errors import DataError, SettingsError
from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.confusion import confusion_matrix
from lpdseg.evaluation.split import LabelledBatch, observe_split, score_split
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.edited import EditedSegmenter, edited, names_in
from lpdseg.segmenting.edits import Edits, read_edits
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("A", "B", "C"), background=3)
COUNTS = (2, 3, 1)
OFFSETS = (0.5, -0.25, 0.0)
Say = Callable[[str], Edits]


@pytest.fixture
def say(tmp_path: Path) -> Say:
    def read(text: str) -> Edits:
        (tmp_path / "edits.yaml").write_text(text)
        return read_edits(tmp_path / "edits.yaml")

    return read


@pytest.fixture
def plain(tiny_lpd: Callable[..., LPD]) -> Callable[..., Segmenter]:
    def build(classes: TissueClasses = CLASSES, head: int = 8, **changes: Any) -> Segmenter:
        model = tiny_lpd(counts=COUNTS, head=head).eval()
        with torch.no_grad():
            model.bank.weight.mul_(50)  # cosines that differ
            if model.head is not None:
                model.head.cosine.log_scale.fill_(math.log(3))  # and no prototype that is sure of itself
        settings = PredictSettings(
            **({"fusion": (0, 0.3, 0.7), "refine": "none", "background": "glass", "gate": "none"} | changes)
        )
        calibration = Calibration(torch.tensor([0.5, 0.5, 0.5]), torch.tensor(OFFSETS))
        return Segmenter(model, classes, settings, calibration, (0.0, 0.5, 1.0), "mean")

    return build


def pictures(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 48, 3), np.uint8)


def batch_of(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def with_image_level(evidence: Evidence, probabilities: tuple[float, ...]) -> Evidence:
    return replace(evidence, probabilities=torch.tensor(probabilities).expand_as(evidence.probabilities))


def shares(segmenter: Segmenter, images: np.ndarray, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """The probability of each prototype at each pixel, B x P x H x W."""
    batch = batch_of(images)
    found = segmenter.observe(batch, parts=True).parts
    assert found is not None
    found = found.clone()
    found[:, list(hidden)] = 0
    found = found / found.sum(1, keepdim=True)
    return torch.nn.functional.interpolate(found, size=(32, 48), mode="bilinear").numpy()


@pytest.mark.parametrize(
    ("text", "target", "hidden"),
    [
        ("B 1: {move: A}", (0, 0, 0, 1, 1, 2), ()),
        ("A 1: {move: background}\nB 3: {hide: true}", (3, 0, 1, 1, 1, 2), (4,)),
        ("C 1: {move: B}\nA 2: {merge: B 2}\nB 1: {hide: true}", (0, 1, 1, 1, 1, 1), (2,)),
    ],
)
@pytest.mark.parametrize("rule", ["glass", "power"])
def test_probabilities_are_added_where_the_edit_says(
    text: str, target: tuple[int, ...], hidden: tuple[int, ...], rule: str, plain: Any, say: Say
) -> None:
    segmenter, images = plain(background=rule, views=("plain",)), pictures()
    found = edited(segmenter, say(text)).segment_batch(images)
    parts, trained = shares(segmenter, images, hidden), (0, 0, 1, 1, 1, 2)
    glass = segmenter.glass(batch_of(images))
    for b, one in enumerate(found):
        for y in range(0, 32, 5):
            for x in range(0, 48, 5):
                p, g = parts[b, :, y, x], 0.0 if glass is None else float(glass[b, 0, y, x])
                scores = [0.0] * 4
                by_trained = [sum(p[k] for k in range(6) if trained[k] == c) for c in range(3)]
                scores[3] = g if rule == "glass" else (1 - max(by_trained)) ** segmenter.settings.background_power
                for k in range(6):
                    scores[target[k]] += (1 - g) * p[k] * math.exp(OFFSETS[trained[k]])
                total = sum(scores)
                np.testing.assert_allclose(one.probabilities[:, y, x], [s / total for s in scores], atol=2e-5)


def test_a_prototype_acts_where_its_trained_class_passes(plain: Any, say: Say) -> None:
    segmenter = plain(gate="predicted")
    images = batch_of(pictures(3))
    moved = edited(segmenter, say("B 1: {move: A}\nB 2: {move: A}\nB 3: {move: A}"))
    evidence = moved.observe(images)
    for probabilities, gate, shown in (
        ((0.1, 0.9, 0.1), (True, False, False), {0, 3}),  # B passes, and what it was shows as A
        ((0.9, 0.1, 0.9), (True, False, True), {0, 2, 3}),
        ((0.1, 0.1, 0.9), (False, False, True), {2, 3}),
    ):
        found = moved.decide(with_image_level(evidence, probabilities), images)
        assert found.gate.tolist() == [list(gate)] * 3
        assert set(found.mask.unique().tolist()) <= shown
        assert (found.probabilities[:, 1] == 0).all()  # a class without prototypes is not shown
    only_moved = moved.decide(with_image_level(evidence, (0.1, 0.9, 0.9)), images).probabilities[:, 0]
    both = moved.decide(with_image_level(evidence, (0.9, 0.9, 0.9)), images).probabilities[:, 0]
    assert (both >= only_moved - 1e-6).all() and (both > only_moved + 1e-4).any()


def test_the_oracle_opens_what_counts_for_the_true_classes(plain: Any, say: Say) -> None:
    segmenter = edited(plain(gate="oracle"), say("B 1: {move: A}\nC 1: {move: background}"))
    images = batch_of(pictures(2))
    labels = torch.tensor([[True, False, False], [False, True, True]])
    found = segmenter.decide(segmenter.observe(images), images, labels)
    assert found.gate.tolist() == [[True, False, False], [False, True, False]]
    assert (found.probabilities[0, 1] == 0).all() and (found.probabilities[1, 0] == 0).all()


def test_names_and_merges_within_a_class_change_no_bit(plain: Any, say: Say) -> None:
    for changes in ({"gate": "predicted"}, {"background": "power"}, {"background": "none", "refine": "crf"}):
        segmenter = plain(**changes)
        same = edited(segmenter, say("B 1: {name: small}\nA 1: {merge: A 2}"))
        for ours, theirs in zip(same.segment_batch(pictures()), segmenter.segment_batch(pictures()), strict=True):
            np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)
            np.testing.assert_array_equal(ours.mask, theirs.mask)
            np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_where_nothing_is_left_every_class_is_open(plain: Any, say: Say) -> None:
    segmenter = edited(plain(gate="predicted", background="none"), say("C 1: {hide: true}"))
    images = batch_of(pictures(1))
    found = segmenter.decide(with_image_level(segmenter.observe(images), (0.1, 0.1, 0.9)), images)
    assert found.gate.tolist() == [[True, True, False]] and found.probabilities.isfinite().all()


def test_a_retired_prototype_keeps_no_class_alive(plain: Any, say: Say) -> None:
    segmenter = plain(gate="none", background="none")
    segmenter.model.head.live[1] = False
    moved = edited(segmenter, say("A 1: {move: B}")).segment_batch(pictures(1))[0]
    assert (moved.probabilities[0] == 0).all()
    with pytest.raises(DataError, match="A 2 is retired"):
        edited(segmenter, say("A 2: {move: B}"))


@pytest.mark.parametrize("gate", ["predicted", "oracle", "none"])
@pytest.mark.parametrize("background", ["glass", "power"])
def test_figures_are_those_of_the_masks(gate: Gate, background: str, plain: Any, say: Say) -> None:
    edits = say("B 1: {move: A}\nB 2: {move: background}\nC 1: {hide: true}")
    segmenter = edited(plain(gate="predicted", background=background), edits)
    images = pictures(4)
    truth = np.random.default_rng(1).integers(0, 4, (4, 32, 48)).astype(np.uint8)
    truth[2:][truth[2:] == 0] = 1
    batches = [LabelledBatch(batch_of(images[i : i + 2]), truth[i : i + 2], ("p", "q")) for i in (0, 2)]
    chosen = segmenter.with_settings(gate=gate)
    [record] = score_split(chosen, observe_split(segmenter, batches), "valid")
    assert record["edits"] == edits.sha256 and record["gate"] == gate
    if gate == "oracle":
        held = torch.cat([batch.labels(3) for batch in batches])
        observed = [chosen.observe(batch.images) for batch in batches]
        masks = np.concatenate([
            chosen.decide(seen, batch.images, held[2 * i : 2 * i + 2]).mask.numpy()
            for i, (seen, batch) in enumerate(zip(observed, batches, strict=True))
        ])  # fmt: skip
    else:
        masks = np.stack([one.mask for one in chosen.segment_batch(images)])
    wanted = sum(confusion_matrix(t, m, 4) for t, m in zip(truth, masks, strict=True))
    assert record["confusion"] == wanted.tolist()


def test_changed_settings_keep_the_edits(plain: Any, say: Say) -> None:
    segmenter = edited(plain(), say("B 1: {move: background}"))
    other = segmenter.with_settings(gate="predicted").calibrated(Calibration.plain(3))
    assert isinstance(other, EditedSegmenter) and other.plan == segmenter.plan
    with pytest.raises(DataError, match="cannot be moved to background"):
        segmenter.with_settings(background="none")
    with pytest.raises(SettingsError, match="masks are not made of prototypes"):
        segmenter.with_settings(source="maps")


def test_a_run_without_dense_prototypes_takes_no_edits(plain: Any, say: Say) -> None:
    with pytest.raises(SettingsError, match=r"edits.yaml cannot be used with this run, whose masks are not made"):
        edited(plain(head=0), say("B 1: {hide: true}"))
    segmenter = plain()
    assert edited(segmenter, None) is segmenter


def test_nothing_is_chosen_under_edits(plain: Any, say: Say) -> None:
    segmenter = edited(plain(), say("B 1: {hide: true}"))
    batch = LabelledBatch(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), np.zeros((1, 16, 16), np.uint8), ("p",))
    with pytest.raises(SettingsError, match="leave the edits out"):
        calibrate(segmenter, observe_split(segmenter, [batch]), offsets=True)


def test_edited_prototypes_are_called_by_what_became_of_them(plain: Any, say: Say) -> None:
    told = "B 2: {move: A, name: odd}\nA 2: {merge: B 1}\nB 3: {hide: true}\nC 1: {name: plain}"
    assert names_in(plain(), say(told)) == {
        1: "A 2 (merged into B 1)", 3: "B 2: odd (moved to A)", 4: "B 3 (hidden)", 5: "C 1: plain",
    }  # fmt: skip
    assert names_in(plain(), None) == {}


@pytest.mark.parametrize(
    ("text", "names", "winning", "options", "seen"),
    [
        (
            "B 2: {move: A, name: odd}\nA 2: {merge: B 1}\nB 3: {hide: true}\nC 1: {move: background}",
            ("A 1", "B 1", "B 1", "A odd", "B 3", "background C 1"),
            (0, -1, 1, 0, -1, -1),
            {0: {0: (0,), 3: (3,)}, 1: {2: (1, 2)}},
            {0, 2, 65535},
        ),
        (
            "C 1: {move: A}\nB 3: {hide: true}",
            ("A 1", "A 2", "B 1", "B 2", "B 3", "A C 1"),
            (0, 0, 1, 1, -1, 0),
            {0: {0: (0,), 1: (1,), 5: (5,)}, 1: {2: (2,), 3: (3,)}},
            {0, 5},
        ),
    ],
)
@pytest.mark.parametrize("gate", ["predicted", "none"])
def test_the_map_of_prototypes_follows_the_edits(
    text: str, names: Any, winning: Any, options: Any, seen: set[int], gate: Gate, plain: Any, say: Say
) -> None:
    """Of each pixel the largest term of the sum that made its class; moved ones keep their index."""
    colours = np.random.default_rng(3).integers(0, 256, (2, 4, 6, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    segmenter, images = edited(plain(gate=gate, views=("plain",)), say(text)), batch_of(colours)
    assert segmenter.prototype_names == names and segmenter.winning == winning
    evidence = with_image_level(segmenter.observe(images, parts=True), (0.9, 0.1, 0.9))
    found = segmenter.decide(evidence, images)
    assert found.prototypes is not None
    parts = shares(plain(views=("plain",)), colours, hidden=(4,))
    trained, weights = (0, 0, 1, 1, 1, 2), [math.exp(offset) for offset in OFFSETS]
    acts = [gate == "none" or trained[k] != 1 for k in range(6)]
    for b, y, x in np.ndindex(2, 32, 48):
        term = [acts[k] * weights[trained[k]] * float(parts[b, k, y, x]) for k in range(6)]
        c = int(found.mask[b, y, x])
        sums = {shown: sum(term[k] for k in members) for shown, members in options.get(c, {}).items()}
        assert int(found.prototypes[b, y, x]) == (65535 if c == 3 else max(sums, key=lambda k: sums[k]))
    assert set(found.prototypes.unique().tolist()) >= seen


def test_claims_tell_prototypes_apart_where_no_class_passes(plain: Any, say: Say) -> None:
    """A window in which a class is closed may be the heaviest where others of the slide show the class."""
    segmenter, images = edited(plain(gate="predicted"), say("A 1: {name: large}")), batch_of(pictures())
    evidence = segmenter.observe(images, parts=True)
    closed, opened = (
        segmenter.claims(with_image_level(evidence, levels)) for levels in ((0.1, 0.9, 0.9), (0.9, 0.9, 0.9))
    )
    assert closed is not None and opened is not None
    assert torch.equal(closed[:, :2].argmax(1), opened[:, :2].argmax(1))
    assert closed[:, :2].amax() < opened[:, :2].amin()

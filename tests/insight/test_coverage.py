import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.data.synthetic import SUBTYPES, generate
from lpdseg.errors import DataError, SettingsError
from lpdseg.insight.coverage import coverage_record, measure_coverage, pair_similarity
from lpdseg.insight.evidence import prototype_angles, prototype_maps, prototype_values
from lpdseg.insight.subtypes import read_subtypes
from lpdseg.insight.survey import PatchUse, Survey, patch_use, sibling_similarity, survey_split
from lpdseg.insight.usage import is_dead, mean_share, share_interval, usage
from lpdseg.losses.diversity import diversity_loss
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.network import Network, Reading
from lpdseg.model.prototypes import PrototypeBank
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import IGNORE, TissueClasses

BCSS = ("TUM", "STR", "LYM", "NEC")


def make_segmenter(model: LPD, classes: TissueClasses, batch: int = 4) -> Segmenter:
    settings = PredictSettings(fusion=(0, 0.4, 0.6), refine="none", batch=batch)
    return Segmenter(model.eval(), classes, settings, Calibration.plain(len(classes)), (0.0, 0.1, 1.0), "mean")


def record(name: str = "p", patient: str = "a") -> PatchRecord:
    return PatchRecord(Path(f"{name}.png"), None, "valid", patient, Path(f"{name}.png"))


# Pure functions, on arrays made by hand.


def test_usage_of_four_pixels() -> None:
    cosine = torch.tensor(
        [
            [0.9, 0.1, 0.4, 0.2],  # the class's first: wins pixel 0
            [0.2, 0.8, 0.5, 0.3],  # its second: wins the others
            [0.5, 0.0, 0.1, 0.7],  # a rival: takes pixel 3
        ]
    )
    found = usage(cosine, torch.tensor([0, 0, 1]), 0, dense=False)
    assert found.winner.tolist() == [0, 1, 1, 1]
    assert found.claimed.tolist() == [True, True, True, False]
    np.testing.assert_allclose(found.strength, [0.9, 0.8, 0.5, 0.3])
    # The second prototype wins most; alone it beats the rival at pixels 1 and 2 of the three claimed.
    assert found.shrinkage == pytest.approx(1 / 3)


def test_probabilities_of_a_class_add_up_before_it_claims() -> None:
    probability = torch.tensor([[0.3, 0.4, 0.2], [0.25, 0.1, 0.3], [0.45, 0.5, 0.5]])
    found = usage(probability, torch.tensor([0, 0, 1]), 0, dense=True)
    assert found.winner.tolist() == [0, 0, 1]
    assert found.claimed.tolist() == [True, False, False]  # the third is a tie
    assert found.shrinkage == 1.0  # 0.3 alone is less than 0.45
    assert not usage(probability, torch.tensor([0, 0, 1]), 0, dense=False).claimed.any()


def test_a_class_alone_claims_everything_and_a_tie_between_classes_nothing() -> None:
    assert usage(torch.tensor([[-0.5, -1.0]]), torch.tensor([0]), 0, dense=False).claimed.all()
    tie = usage(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 1]), 0, dense=False)
    assert not tie.claimed.any()
    assert np.isnan(tie.shrinkage)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
def test_one_patch_is_counted_as_a_loop_over_its_pixels_does(seed: int, counts: list[int], dense: bool) -> None:
    rng = np.random.default_rng(seed)
    classes, prototypes, height, width = len(counts), sum(counts), 5, 7
    cosine = rng.uniform(-1, 1, (prototypes, height, width)).astype(np.float32)
    truth = rng.choice([*range(classes + 1), IGNORE], (height, width)).astype(np.uint8)
    faces = rng.choice([0, 3, 5, -1], (height, width))
    bank, merge = PrototypeBank(tuple(counts), 4), sum if dense else max
    alike = np.zeros((prototypes, prototypes))
    found = patch_use(record(), torch.from_numpy(cosine), truth, faces, alike, bank, dense, 7)

    first = np.cumsum([0, *counts])
    won = np.zeros(prototypes, int)
    sums = np.zeros(prototypes)
    pixels, claimed = np.zeros(classes, int), np.zeros(classes, int)
    face_won, face_claimed = np.zeros((7, prototypes), int), np.zeros((7, classes), int)

    def rivals(c: int, values: list[float]) -> float:
        others = [merge(values[first[d] : first[d + 1]]) for d in range(classes) if d != c]
        return max(others, default=-np.inf)

    for y in range(height):
        for x in range(width):
            c = int(truth[y, x])
            if c >= classes:
                continue
            values = cosine[:, y, x].tolist()
            own = range(first[c], first[c + 1])
            best = max(own, key=lambda j, values=values: values[j])
            mine = merge(values[first[c] : first[c + 1]]) > rivals(c, values)
            pixels[c] += 1
            claimed[c] += mine
            won[best] += 1
            sums[best] += values[best]
            if faces[y, x] >= 0:
                face_won[faces[y, x], best] += 1
                face_claimed[faces[y, x], c] += mine
    np.testing.assert_array_equal(found.won, won)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.claimed, claimed)
    np.testing.assert_array_equal(found.subtype_won, face_won)
    np.testing.assert_array_equal(found.subtype_claimed, face_claimed)
    np.testing.assert_array_equal(np.isnan(found.strength), won == 0)
    np.testing.assert_allclose(found.strength[won > 0], sums[won > 0] / won[won > 0], rtol=1e-6)
    for c in range(classes):
        most = max(range(first[c], first[c + 1]), key=lambda j: won[j])
        alone = sum(
            truth[y, x] == c and cosine[most, y, x] > rivals(c, cosine[:, y, x].tolist())
            for y in range(height)
            for x in range(width)
        )
        if claimed[c]:
            assert found.shrinkage[c] == pytest.approx(1 - alone / claimed[c])
        else:
            assert np.isnan(found.shrinkage[c])


def test_similarity_is_jeffreys_divergence_over_the_true_pixels() -> None:
    rng = np.random.default_rng(2)
    cosine = rng.uniform(-1, 1, (5, 4, 6)).astype(np.float32)
    truth = rng.integers(0, 3, (4, 6))
    bank = PrototypeBank((3, 2), 4)
    found = sibling_similarity(torch.from_numpy(cosine), truth.astype(np.uint8), bank, 0.2)
    for c, own in ((0, (0, 1, 2)), (1, (3, 4))):
        weights = np.exp(cosine[list(own)][:, truth == c].astype(float) / 0.2)
        shares = weights / weights.sum(1, keepdims=True)
        for i, u in zip(own, shares, strict=True):
            for j, v in zip(own, shares, strict=True):
                divergence = (u * np.log(u / v)).sum() + (v * np.log(v / u)).sum()
                assert found[i, j] == pytest.approx(np.exp(-divergence), abs=1e-5)
    assert np.isnan(found[:3, 3:]).all()
    assert np.isnan(found[3:, :3]).all()


def test_similarity_of_a_class_of_one_pixel_is_unknown() -> None:
    truth = np.array([[0, 1], [1, 1]], np.uint8)
    found = sibling_similarity(torch.rand(4, 2, 2), truth, PrototypeBank((2, 2), 4), 0.1)
    assert np.isnan(found[:2, :2]).all()
    assert not np.isnan(found[2:, 2:]).any()


def test_dead_is_below_a_hundredth_of_an_equal_share() -> None:
    assert is_dead(np.array([0.0, 0.0024, 0.0026, 0.995])).tolist() == [True, True, False, False]
    assert is_dead(np.array([1.0])).tolist() == [False]


def test_mean_share_counts_each_subtype_once() -> None:
    assert mean_share(np.array([1, 50, 0]), np.array([10, 100, 0])) == pytest.approx(0.3)
    assert np.isnan(mean_share(np.array([0]), np.array([0])))


def test_interval_holds_the_share_and_needs_two_patients() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(50, 100, (8, 4))
    part = rng.binomial(whole, 0.6)
    found = share_interval(part, whole)
    assert found is not None
    low, high = found
    assert low < mean_share(part.sum(0), whole.sum(0)) < high
    assert share_interval(np.tile(part[:1], (5, 1)), np.tile(whole[:1], (5, 1))) == pytest.approx(
        (float(mean_share(part[0], whole[0])),) * 2
    )
    assert share_interval(part[:1], whole[:1]) is None


# A whole split.


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("generated")
    return generate(folder, size=64, mpp=1.0, patches={"valid": 7}, patients={"valid": 3})


@pytest.fixture
def four(tiny_lpd: Callable[..., LPD]) -> Iterator[Segmenter]:
    yield make_segmenter(tiny_lpd(counts=(2, 3, 1, 4)), TissueClasses(BCSS, background=4), batch=3)


def test_figures_of_a_split_agree_with_its_pixels(four: Segmenter, generated: Manifest) -> None:
    found = measure_coverage(four, generated, "valid")
    json.dumps(found, allow_nan=False)

    assert isinstance(four.model, LPD)
    class_of = four.model.bank.class_of.numpy()
    survey = survey_split(four, generated, "valid")
    cosines, truths, faces = [], [], []
    for one in survey.patches:
        image = np.asarray(Image.open(one.record.path))
        assert one.record.mask is not None
        cosines.append(prototype_values(four, image).reshape(10, -1))
        truths.append(np.asarray(Image.open(one.record.mask)).ravel())
        faces.append(read_subtypes(one.record, four.classes, image.shape[:2]).ravel())
    cosine, truth, face = np.concatenate(cosines, 1), np.concatenate(truths), np.concatenate(faces)
    claimed = class_of[cosine.argmax(0)] == truth
    shares = [claimed[face == f].mean() for f, s in enumerate(SUBTYPES) if s.tissue < 4 and (face == f).any()]
    assert found["subtype_coverage"] == pytest.approx(np.mean(shares))
    assert found["worst_subtype"]["claimed"] == pytest.approx(min(shares))
    low, high = found["subtype_coverage_interval"]
    assert low <= high

    numbers = []
    for c, name in enumerate(BCSS):
        winner = cosine[class_of == c][:, truth == c].argmax(0)
        expected = np.bincount(winner, minlength=(class_of == c).sum()) / winner.size
        np.testing.assert_allclose(found["classes"][name]["shares"], expected)
        numbers.append(np.exp(-sum(p * np.log(p) for p in expected if p)))
        assert found["classes"][name]["claimed"] == pytest.approx(claimed[truth == c].mean())
    assert found["effective_prototypes"] == pytest.approx(np.mean(numbers))
    assert found["classes"]["LYM"]["jeffrey_similarity"] is None
    assert found["dead_prototypes"] == sum(one["dead_prototypes"] for one in found["classes"].values())

    np.testing.assert_array_equal(sum(one.pixels for one in survey.patches), np.bincount(truth)[:4])


def test_similarity_is_the_diversity_loss_with_true_masks(four: Segmenter, generated: Manifest) -> None:
    assert isinstance(four.model, LPD)
    bank = four.model.bank
    total = count = 0.0
    for one in survey_split(four, generated, "valid").patches:
        image = np.asarray(Image.open(one.record.path))
        assert one.record.mask is not None
        truth = torch.from_numpy(np.array(Image.open(one.record.mask))).long()
        labels = torch.tensor([[float((truth == c).any()) for c in range(4)]])
        cosine = torch.from_numpy(prototype_values(four, image))[None]
        term = diversity_loss(cosine, truth[None], labels, bank.slots, bank.real, 0.3)
        total, count = total + float(term.total), count + float(term.count)
    found = measure_coverage(four, generated, "valid", temperature=0.3)
    assert found["jeffrey_similarity"] == pytest.approx(total / count, rel=1e-4)
    assert found["temperature"] == 0.3


def test_winners_of_the_mask_are_measured_where_prototypes_make_it(
    tiny_lpd: Callable[..., LPD], generated: Manifest
) -> None:
    model = tiny_lpd(counts=(2, 3, 1, 4), head=8)
    segmenter = make_segmenter(model, TissueClasses(BCSS, background=4))
    assert isinstance(model.head, PrototypeHead)
    model.head.live[3] = False
    survey = survey_split(segmenter, generated, "valid")
    assert survey.map == "dense"
    for one in survey.patches:
        assert one.record.mask is not None
        truth = np.asarray(Image.open(one.record.mask))
        image = torch.from_numpy(np.array(Image.open(one.record.path)).transpose(2, 0, 1))[None]
        evidence = segmenter.observe(image, parts=True)
        assert evidence.parts is not None
        values = F.interpolate(evidence.parts, evidence.padded, mode="bilinear")[0].numpy()
        classes = segmenter.fuse(evidence)[0].argmax(0).numpy()
        for c, (first, last) in enumerate(((0, 2), (2, 5), (5, 6), (6, 10))):
            winner = values[first:last].argmax(0)[truth == c]
            np.testing.assert_allclose(one.won[first:last], np.bincount(winner, minlength=last - first), atol=2)
            assert one.claimed[c] == pytest.approx((classes[truth == c] == c).sum(), abs=2)
    assert survey.patches[0].won[3] == 0
    found = coverage_record(survey)
    assert found["retired_prototypes"] == found["classes"]["STR"]["retired_prototypes"] == 1
    assert 2 not in found["classes"]["STR"]["dead"]  # neither counted as dead
    maps = prototype_maps(segmenter, image)
    alike = sibling_similarity(maps.full(0, truth.shape)[1], truth, model.bank, 0.1)
    np.testing.assert_allclose(alike, survey.patches[-1].similarity, atol=1e-4)


def test_masks_that_class_maps_make_leave_the_coarsest_scale(
    tiny_lpd: Callable[..., LPD], generated: Manifest
) -> None:
    model = tiny_lpd(counts=(1, 1, 1, 1), head=8)
    segmenter = make_segmenter(model, TissueClasses(BCSS, background=4))
    assert survey_split(segmenter.with_settings(source="maps"), generated, "valid", most=1).map == "scale 3"


def test_subtypes_are_those_of_the_manifest_where_it_says_some(four: Segmenter, generated: Manifest) -> None:
    told = [replace(one, subtype=(None, "odd", "even")[place % 3]) for place, one in enumerate(generated.records)]
    survey = survey_split(four, replace(generated, records=tuple(told)), "valid")
    assert survey.subtypes == ("even", "odd")
    for one, name in zip(survey.patches, (one.subtype for one in told), strict=True):
        expected = np.zeros((2, 4), np.int64)
        if name is not None:
            expected[survey.subtypes.index(name)] = one.pixels
        np.testing.assert_array_equal(np.add.reduceat(one.subtype_won, [0, 2, 5, 6], 1), expected)
    found = coverage_record(survey)
    names = {(one["class"], one["name"]) for one in found["subtypes"]}
    shown = [(one.pixels, one.record.subtype) for one in survey.patches if one.record.subtype is not None]
    assert names == {(BCSS[c], name) for pixels, name in shown for c in np.flatnonzero(pixels).tolist()}
    assert found["classes"]["STR"]["region_information"] is not None


def used(patient: str, subtype: int | None, won: list[int]) -> PatchUse:
    """A patch of one class, whose two prototypes win so many pixels; all its pixels are of one of two sub-types."""
    counts = np.zeros((2, 2), np.int64)
    if subtype is not None:
        counts[subtype] = won
    total = np.array([sum(won)])
    alike = np.full((2, 2), np.nan)
    known, nothing = np.array([[total[0] * (subtype == face)] for face in (0, 1)]), np.full(1, np.nan)
    return PatchUse(record("x", patient), np.array(won), np.ones(2), total, total, nothing, alike, counts, known)


def surveyed(patches: list[PatchUse]) -> dict[str, Any]:
    live = np.ones(2, bool)
    return coverage_record(
        Survey("valid", tuple(patches), ("A",), np.zeros(2, int), live, ("s", "t"), "dense", 0.1)
    )


def test_regions_count_once_whatever_their_size() -> None:
    found = surveyed([used("p", 0, [90, 10]), used("q", 1, [2, 3]), used("p", 0, [6, 4]), used("q", 1, [0, 1])])
    assert found["region_information"] == pytest.approx(1.0)
    assert found["normalised_region_information"] == pytest.approx(1.0)
    assert found["worst_class_information"] == found["mutual_information"] < 0.2
    assert found["purity"] == found["purity_of_one"] == pytest.approx(110 / 116)
    # Each patient has a sub-type of its own, so that winners that tell sub-types tell patients: none of it is more.
    assert found["patient_information"] == pytest.approx(1.0)
    assert found["patient_by_chance"] == pytest.approx(1.0)
    assert found["patient_share"] == pytest.approx(0.0)


def test_winners_that_follow_the_patient_within_a_subtype_are_told() -> None:
    by_patient = [
        used(patient, face, won) for patient, won in (("p", [9, 1]), ("q", [1, 9])) for face in (0, 1) * 8
    ]
    found = surveyed(by_patient)
    assert found["region_information"] == pytest.approx(0.0)
    assert found["patient_information"] == pytest.approx(1.0)
    assert found["patient_by_chance"] < 0.1
    assert found["patient_share"] > 0.9


def test_patches_whose_subtype_is_unknown_tell_of_patients_alone() -> None:
    found = surveyed([used("p", None, [9, 1]), used("q", None, [1, 9]), used("q", 0, [1, 9])])
    assert found["region_information"] is found["purity"] is found["worst_class_information"] is None
    assert found["patient_information"] == pytest.approx(np.log2(3) - 2 / 3)


def test_batches_change_nothing(four: Segmenter, generated: Manifest) -> None:
    alone = four.with_settings(batch=1)
    for mine, theirs in zip(
        survey_split(four, generated, "valid").patches, survey_split(alone, generated, "valid").patches, strict=True
    ):
        assert mine.record == theirs.record
        np.testing.assert_array_equal(mine.won, theirs.won)


def test_the_network_runs_once_per_batch(four: Segmenter, generated: Manifest) -> None:
    passes: list[int] = []
    four.model.encoder.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    steps: list[tuple[int, int]] = []
    measure_coverage(four, generated, "valid", progress=lambda done, total: steps.append((done, total)))
    assert passes == [3, 3, 1]
    assert steps == [(done, 7) for done in range(1, 8)]


def test_a_sample_is_drawn_by_seed(four: Segmenter, generated: Manifest) -> None:
    def drawn(seed: int) -> list[Path]:
        return [one.record.path for one in survey_split(four, generated, "valid", most=3, seed=seed).patches]

    assert len(drawn(0)) == 3
    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 1


def test_one_prototype_per_class(tiny_lpd: Callable[..., LPD], generated: Manifest) -> None:
    segmenter = make_segmenter(tiny_lpd(counts=(1, 1, 1, 1)), TissueClasses(BCSS, background=4))
    found = measure_coverage(segmenter, generated, "valid")
    assert found["effective_prototypes"] == pytest.approx(1)
    assert found["dead_prototypes"] == found["never_winning"] == 0
    assert found["jeffrey_similarity"] is None
    assert found["region_shrinkage"] == 0
    assert found["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert found["subtype_coverage"] is not None
    assert pair_similarity(survey_split(segmenter, generated, "valid"), 0).shape == (1, 1)


@pytest.fixture
def plain(tmp_path: Path) -> Manifest:
    """Two patches of two sizes that show class A, and never class B; no sub-types."""
    rng = np.random.default_rng(0)
    records = []
    for index, size in enumerate(((40, 48), (33, 32))):
        image, mask = tmp_path / f"i{index}.png", tmp_path / f"m{index}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
        Image.fromarray(np.zeros(size, np.uint8)).save(mask)
        records.append(PatchRecord(image, None, "valid", f"p{index}", mask))
    return Manifest(TissueClasses(("A", "B")), tuple(records), tmp_path)


def test_a_class_that_is_never_shown_counts_nowhere(tiny_lpd: Callable[..., LPD], plain: Manifest) -> None:
    found = measure_coverage(make_segmenter(tiny_lpd(counts=(2, 3)), plain.classes), plain, "valid")
    json.dumps(found, allow_nan=False)
    assert found["subtype_coverage"] is found["worst_subtype"] is found["mutual_information"] is None
    assert found["subtypes"] == []
    missing = found["classes"]["B"]
    assert missing["pixels"] == missing["dead_prototypes"] == 0
    assert missing["effective_prototypes"] is missing["claimed"] is missing["region_shrinkage"] is None
    assert found["effective_prototypes"] == found["classes"]["A"]["effective_prototypes"]


class Bare(Network):
    """A network without prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    @property
    def scales(self) -> int:
        return 3

    @property
    def has_head(self) -> bool:
        return True

    @property
    def has_maps(self) -> bool:
        return True

    def read(self, *args: object, **kwargs: object) -> Reading:
        return Reading()


def test_what_cannot_be_measured_is_said(tiny_lpd: Callable[..., LPD], plain: Manifest) -> None:
    segmenter = make_segmenter(tiny_lpd(counts=(2, 3)), plain.classes)
    bare = Segmenter(Bare(), plain.classes, segmenter.settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")
    with pytest.raises(SettingsError, match="no prototypes"):
        measure_coverage(bare, plain, "valid")
    with pytest.raises(DataError, match="'test'"):
        measure_coverage(segmenter, plain, "test")
    unmasked = tuple(PatchRecord(one.path, None, "valid", one.patient) for one in plain.records)
    with pytest.raises(DataError, match="mask"):
        measure_coverage(segmenter, Manifest(plain.classes, unmasked, plain.source), "valid")


def test_angles_are_those_of_projected_prototypes(four: Segmenter) -> None:
    assert isinstance(four.model, LPD)
    projected = four.model.projections[-1](four.model.bank.weight).detach().numpy()
    unit = projected / np.linalg.norm(projected, axis=1, keepdims=True).clip(1e-12)
    np.testing.assert_allclose(prototype_angles(four), unit @ unit.T, atol=1e-5)

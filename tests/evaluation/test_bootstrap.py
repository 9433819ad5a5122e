import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lpdseg.evaluation import Scores, intervals, mean_miou, paired_difference
from lpdseg.evaluation.bootstrap import paired_classes


def patients(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    quality = rng.uniform(1, 20, (count, 1, 1))
    return rng.poisson(20 * (1 + quality * np.eye(4))).astype(np.int64)


def test_agrees_with_a_plain_loop_over_draws() -> None:
    matrices = patients(12)
    rng = np.random.default_rng(5)
    draws = [Scores.of(matrices[rng.integers(0, 12, 12)].sum(0), 3).miou for _ in range(1500)]
    expected = np.quantile(draws, [0.05, 0.95])
    found = intervals(matrices, 3, level=0.9, resamples=4000)
    assert found is not None
    np.testing.assert_allclose(found.miou, expected, atol=0.01)


def test_left_to_itself_it_is_95_per_cent_of_1000_draws() -> None:
    matrices, stated = patients(6), {"level": 0.95, "resamples": 1000, "seed": 0}
    assert intervals(matrices, 3) == intervals(matrices, 3, "keep", **stated)
    ours, theirs = runs(2, 5, 1), runs(2, 5, 2)
    assert mean_miou(ours, 2) == mean_miou(ours, 2, "keep", **stated)
    assert paired_difference(ours, theirs, 2) == paired_difference(ours, theirs, 2, "keep", **stated)


def test_every_figure_has_the_interval_of_its_own_values() -> None:
    """The ends of few draws with the same seed, each from the sum of the patients that the draw took."""
    matrices = patients(4, seed=3)
    drawn = np.random.default_rng(7).multinomial(4, np.full(4, 0.25), size=9)
    scores = [Scores.of(np.einsum("p,pij->ij", counts, matrices), 3, "ignore") for counts in drawn]
    found = intervals(matrices, 3, "ignore", level=0.6, resamples=9, seed=7)
    assert found is not None
    for name in ("miou", "mdice", "fwiou", "pixel_accuracy"):
        assert getattr(found, name) == pytest.approx(
            np.quantile([getattr(one, name) for one in scores], [0.2, 0.8])
        )
    for name in ("iou", "dice"):
        for c, ends in enumerate(getattr(found, name)[:3]):
            assert ends == pytest.approx(np.quantile([getattr(one, name)[c] for one in scores], [0.2, 0.8]))


def test_holds_the_figure_itself_and_narrows_with_more_patients() -> None:
    widths = []
    for count in (5, 80):
        matrices = patients(count)
        found, scores = intervals(matrices, 3), Scores.of(matrices.sum(0), 3)
        assert found is not None
        for name in ("miou", "mdice", "fwiou", "pixel_accuracy"):
            low, high = getattr(found, name)
            assert low < getattr(scores, name) < high
        for (low, high), value in zip(found.iou, scores.iou, strict=True):
            assert low < value < high
        widths.append(found.miou[1] - found.miou[0])
    assert widths[1] < widths[0] / 2


def test_level_seed_and_background_matter() -> None:
    matrices = patients(10)
    assert intervals(matrices, 3, seed=1) == intervals(matrices, 3, seed=1)
    assert intervals(matrices, 3, seed=1) != intervals(matrices, 3, seed=2)
    wide, narrow = intervals(matrices, 3, level=0.99), intervals(matrices, 3, level=0.5)
    assert wide.miou[0] < narrow.miou[0] < narrow.miou[1] < wide.miou[1]
    assert intervals(matrices, 3, "ignore").iou[3] is None


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_patients_say_nothing(count: int) -> None:
    assert intervals(patients(count), 3) is None


def test_equal_patients_have_no_spread() -> None:
    found = intervals(np.repeat(patients(1), 4, axis=0), 3)
    assert found is not None
    assert found.miou[0] == pytest.approx(found.miou[1])


def test_a_class_of_one_patient_is_taken_where_it_is_drawn() -> None:
    matrices = patients(3)
    matrices[:, 2], matrices[:, :, 2] = 0, 0
    matrices[0, 2, 2], matrices[0, 2, 0] = 30, 10
    found = intervals(matrices, 3)
    assert found is not None
    assert found.iou[2] == pytest.approx((0.75, 0.75))


def runs(seeds: int, count: int, seed: int = 0, shift: int = 0) -> np.ndarray:
    """Matrices (seeds, patients, 3, 3) of runs; `shift` is how many more pixels of each class they find."""
    rng = np.random.default_rng(seed)
    easy = rng.integers(5, 60, (1, count, 1, 1))  # the patient's part, shared by seeds
    luck = rng.integers(0, 8, (seeds, 1, 1, 1))
    return rng.poisson(10, (seeds, count, 3, 3)) + (easy + luck + shift) * np.eye(3, dtype=np.int64)


def all_draws(*methods: np.ndarray) -> np.ndarray:
    """The mean difference of mIoU under every draw of patients and seeds, by plain loops."""
    seeds, count = methods[0].shape[:2]
    found = []
    for people in itertools.product(range(count), repeat=count):
        miou = [[float(Scores.of(run[list(people)].sum(0), 3).miou) for run in one] for one in methods]
        for luck in itertools.product(range(seeds), repeat=seeds):
            means = [np.mean([one[s] for s in luck]) for one in miou]
            found.append(means[0] - (means[1] if len(means) == 2 else 0))
    return np.array(found)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_two_way_intervals_agree_with_every_possible_draw(seeds: int) -> None:
    ours, theirs = runs(seeds, 4, 1, shift=9), runs(seeds, 4, 2)
    one, both = mean_miou(ours, 3, resamples=20000), paired_difference(ours, theirs, 3, resamples=20000)
    for found, methods in ((one, (ours,)), (both, (ours, theirs))):
        draws = all_draws(*methods)
        assert found.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.006)
        assert found.interval[0] < found.value < found.interval[1]
    assert one.value == pytest.approx(np.mean([Scores.of(run.sum(0), 3).miou for run in ours]))
    assert both.value == pytest.approx(one.value - mean_miou(theirs, 3).value)


def test_pairing_cancels_what_is_hard_for_both() -> None:
    theirs = runs(3, 8)
    ours = theirs + 2 * np.eye(3, dtype=np.int64)
    found = paired_difference(ours, theirs, 3)
    alone = mean_miou(ours, 3)
    assert found.interval[0] > 0
    assert found.interval[1] - found.interval[0] < (alone.interval[1] - alone.interval[0]) / 4


counts = arrays.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(2, 4), st.just(3), st.just(3)),
                       elements=st.integers(0, 50))  # fmt: skip


@given(counts, st.integers(0, 5))
def test_a_difference_turns_its_sign_with_the_pair_and_is_nothing_against_itself(ours: np.ndarray, by: int) -> None:
    theirs = np.roll(ours, by, axis=-1)
    one, other = (paired_difference(*pair, 2, "ignore", resamples=50) for pair in ((ours, theirs), (theirs, ours)))
    same = paired_difference(ours, ours, 2, "ignore", resamples=50)
    assert one.value == pytest.approx(-other.value, nan_ok=True)
    if one.interval is None or other.interval is None:
        assert one.interval is other.interval
    else:
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-12)
        assert -1 <= one.interval[0] <= one.interval[1] <= 1
    assert np.isnan(same.value) or (same.value, same.interval) == (0, (0, 0))


def test_one_patient_gives_no_interval_and_other_patients_no_pair() -> None:
    assert mean_miou(runs(3, 1), 3).interval is None
    assert paired_difference(runs(3, 1), runs(3, 1, 2), 3).interval is None
    with pytest.raises((TypeError, ValueError)):  # by the annotation, where annotations are checked
        paired_difference(runs(3, 4), runs(2, 4), 3)


def test_paired_classes_draw_the_same_patients_for_both() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = (rng.integers(0, 50, (6, 3, 3)) for _ in range(2))
    found = paired_classes(ours, theirs, 2, resamples=200, seed=3)
    drawn = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=200)
    for c, one in enumerate(found):
        iou = [Scores.of(each.sum(0), 2).iou[c] for each in (ours, theirs)]
        assert one.value == pytest.approx(iou[0] - iou[1])
        apart = [
            Scores.of((ours * times[:, None, None]).sum(0), 2).iou[c]
            - Scores.of((theirs * times[:, None, None]).sum(0), 2).iou[c]
            for times in drawn
        ]
        assert one.interval == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))
    assert all(one.value == 0 and one.interval == (0, 0) for one in paired_classes(ours, ours, 2))
    assert paired_classes(ours[:1], theirs[:1], 2)[0].interval is None

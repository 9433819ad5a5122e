import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, roc_auc_score

from lpdseg.evaluation import choose_thresholds, score_images

SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4, 0.5, 0.6, 0.9, 1.0])


def test_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (60, 3))
    probabilities = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1)
    thresholds = np.array([0.3, 0.5, 0.7])
    scores = score_images(probabilities, truth, thresholds)
    np.testing.assert_allclose(scores.f1, f1_score(truth, probabilities >= thresholds, average=None))
    np.testing.assert_allclose(scores.auc, roc_auc_score(truth, probabilities, average=None))
    assert scores.mean_f1 == pytest.approx(scores.f1.mean())
    assert scores.mean_auc == pytest.approx(scores.auc.mean())


def test_classes_of_one_value_have_no_auc_and_leave_the_mean() -> None:
    truth = np.array([[1, 0, 1], [1, 0, 0]])
    probabilities = np.array([[0.9, 0.1, 0.8], [0.9, 0.1, 0.1]])
    scores = score_images(probabilities, truth, np.full(3, 0.5))
    np.testing.assert_array_equal(scores.f1, [1, np.nan, 1])
    np.testing.assert_array_equal(scores.auc, [np.nan, np.nan, 1])
    assert scores.mean_auc == 1
    assert scores.mean_f1 == 1


def brute_force(scores: np.ndarray, held: np.ndarray) -> float:
    """The best F1 over every cut that can be told apart."""
    cuts = [0.0, *(np.unique(scores)[:-1] + np.unique(scores)[1:]) / 2, 1.1]
    return max(2 * (held & (scores >= cut)).sum() / (held.sum() + (scores >= cut).sum()) for cut in cuts)


@given(arrays(np.float64, (9, 1), elements=SCORES), arrays(np.int64, (9, 1), elements=st.integers(0, 1)))
def test_thresholds_are_the_best_there_are(probabilities: np.ndarray, truth: np.ndarray) -> None:
    threshold = choose_thresholds(probabilities, truth)
    assert 0 <= threshold[0] <= 1
    if truth.any():
        f1 = score_images(probabilities, truth, threshold).f1[0]
        assert f1 == pytest.approx(brute_force(probabilities[:, 0], truth[:, 0] == 1))
        below = probabilities[probabilities < threshold[0]]
        above = probabilities[probabilities >= threshold[0]]
        gap = (below.max() if below.size else 0) + above.min()
        assert threshold[0] == pytest.approx(gap / 2)  # midway, not on a score
    else:
        assert threshold[0] == 0.5


def test_thresholds_one_class_at_a_time() -> None:
    probabilities = np.array([[0.2, 0.7, 0.1, 0.3], [0.4, 0.8, 0.2, 0.6], [0.8, 0.9, 0.3, 0.6]])
    truth = np.array([[0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 0]])
    np.testing.assert_allclose(choose_thresholds(probabilities, truth), [0.3, 0.35, 0.5, 0.15])


def test_equal_f1_takes_the_threshold_nearest_one_half() -> None:
    # F1 is 2/3 where all are predicted (cut 0.05) and where only the last is (cut 0.75); others are lower.
    probabilities = np.array([[0.1], [0.6], [0.7], [0.8]])
    truth = np.array([[1], [0], [0], [1]])
    assert choose_thresholds(probabilities, truth)[0] == pytest.approx(0.75)


def test_neighbouring_floats_are_still_cut_apart() -> None:
    low = np.float64(0.5)
    probabilities = np.array([[low], [np.nextafter(low, 1)]])
    truth = np.array([[0], [1]])
    assert score_images(probabilities, truth, choose_thresholds(probabilities, truth)).f1[0] == 1

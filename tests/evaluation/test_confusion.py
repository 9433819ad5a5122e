import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lpdseg.errors import DataError
from lpdseg.evaluation import Scores, confusion_matrix, sum_by_patient
from lpdseg.tissue import IGNORE

MATRICES = arrays(np.int64, (5, 5), elements=st.integers(0, 50))


def masks(seed: int, shape: tuple[int, ...] = (40, 30), channels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, channels, shape, dtype=np.uint8)
    truth[rng.random(shape) < 0.1] = IGNORE
    predicted = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, channels, shape)).astype(np.uint8)
    predicted[predicted == IGNORE] = 0
    return truth, predicted


def test_by_hand() -> None:
    truth = np.array([[0, 0, 1], [2, IGNORE, 1]], np.uint8)
    predicted = np.array([[0, 1, 1], [0, 0, 2]], np.uint8)
    matrix = confusion_matrix(truth, predicted, 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]

    kept = Scores.of(matrix, tissue=2)
    np.testing.assert_allclose(kept.iou, [1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(kept.dice, [1 / 2, 1 / 2, 0])
    np.testing.assert_allclose([kept.miou, kept.fwiou, kept.pixel_accuracy], [1 / 3, 4 / 15, 2 / 5])

    # Without the background pixel class 0 loses its false positive; class 1 keeps its miss to background.
    ignored = Scores.of(matrix, tissue=2, background="ignore")
    np.testing.assert_allclose(ignored.iou, [1 / 2, 1 / 3, np.nan])
    np.testing.assert_allclose([ignored.miou, ignored.fwiou], [5 / 12, 5 / 12])
    assert ignored.pixel_accuracy == 2 / 4


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn_and_torchmetrics(seed: int) -> None:
    truth, predicted = masks(seed)
    counted = truth != IGNORE
    matrix = confusion_matrix(truth, predicted, 5)
    flat = truth[counted], predicted[counted]
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(*flat, labels=range(5)))

    scores = Scores.of(matrix, tissue=5)
    np.testing.assert_allclose(scores.iou, sklearn.metrics.jaccard_score(*flat, average=None))
    np.testing.assert_allclose(scores.dice, sklearn.metrics.f1_score(*flat, average=None))
    np.testing.assert_allclose(scores.fwiou, sklearn.metrics.jaccard_score(*flat, average="weighted"))
    np.testing.assert_allclose(scores.pixel_accuracy, sklearn.metrics.accuracy_score(*flat))

    tensors = torch.from_numpy(predicted.astype(int)), torch.from_numpy(truth.astype(int))
    options = {"num_classes": 5, "ignore_index": IGNORE, "validate_args": False}
    torch.testing.assert_close(tm.MulticlassConfusionMatrix(**options)(*tensors).numpy(), matrix, check_dtype=False)
    jaccard = tm.MulticlassJaccardIndex(**options, average="none")(*tensors)
    np.testing.assert_allclose(scores.iou, jaccard, rtol=1e-6)


def test_background_is_no_part_of_the_mean_and_absent_classes_neither() -> None:
    truth, predicted = masks(7)
    for mask in (truth, predicted):
        mask[mask == 1] = 0
    matrix = confusion_matrix(truth, predicted, 5)
    scores = Scores.of(matrix, tissue=4)
    assert np.isnan(scores.iou[1]) and np.isnan(scores.dice[1])
    np.testing.assert_allclose(scores.miou, scores.iou[[0, 2, 3]].mean())
    np.testing.assert_allclose(scores.mdice, scores.dice[[0, 2, 3]].mean())

    # torchmetrics leaves the absent class out of its macro mean too.
    tensors = torch.from_numpy(predicted.astype(int)), torch.from_numpy(truth.astype(int))
    options = {"num_classes": 5, "ignore_index": IGNORE, "validate_args": False}
    macro = tm.MulticlassJaccardIndex(**options, average="macro")(*tensors)
    np.testing.assert_allclose(Scores.of(matrix, tissue=5).miou, macro, rtol=1e-6)


def test_nothing_to_count_is_nan_without_a_warning() -> None:
    empty = confusion_matrix(np.full((2, 2), IGNORE, np.uint8), np.zeros((2, 2), np.uint8), 3)
    scores = Scores.of(empty, tissue=2)
    assert empty.sum() == 0
    assert all(np.isnan(value) for value in (scores.miou, scores.mdice, scores.fwiou, scores.pixel_accuracy))


@given(MATRICES, st.permutations(range(4)))
def test_numbering_of_classes_does_not_matter(matrix: np.ndarray, order: list[int]) -> None:
    order = [*order, 4]
    for background in ("keep", "ignore"):
        a, b = Scores.of(matrix, 4, background), Scores.of(matrix[np.ix_(order, order)], 4, background)
        np.testing.assert_allclose(b.iou, a.iou[order])
        np.testing.assert_allclose([b.miou, b.mdice, b.fwiou], [a.miou, a.mdice, a.fwiou])


@given(MATRICES)
def test_bounds_and_the_relation_of_dice_to_iou(matrix: np.ndarray) -> None:
    scores = Scores.of(matrix, 4)
    np.testing.assert_allclose(scores.dice, 2 * scores.iou / (1 + scores.iou))
    for values in (scores.iou, scores.dice, scores.miou, scores.mdice, scores.fwiou, scores.pixel_accuracy):
        known = np.asarray(values)[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    ignored = Scores.of(matrix, 4, "ignore")
    better = ignored.iou[:4] >= scores.iou[:4] - 1e-12
    assert (better | np.isnan(ignored.iou[:4])).all()  # dropping false positives never lowers a class


@given(arrays(np.int64, (3, 5, 5), elements=st.integers(0, 50)))
def test_many_matrices_at_once_are_each_alone(matrices: np.ndarray) -> None:
    together = Scores.of(matrices, 4, "ignore")
    for i, matrix in enumerate(matrices):
        alone = Scores.of(matrix, 4, "ignore")
        np.testing.assert_array_equal(together.iou[i], alone.iou)
        np.testing.assert_array_equal(together.miou[i], alone.miou)
        np.testing.assert_array_equal(together.fwiou[i], alone.fwiou)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 39))
def test_matrices_of_parts_add_up(seed: int, cut: int) -> None:
    truth, predicted = masks(seed)
    parts = [confusion_matrix(truth[part], predicted[part], 5) for part in (slice(cut), slice(cut, None))]
    np.testing.assert_array_equal(sum(parts), confusion_matrix(truth, predicted, 5))


def test_sum_by_patient() -> None:
    matrices = np.arange(16).reshape(4, 2, 2)
    names, sums = sum_by_patient(matrices, ["b", "a", "b", "c"])
    assert names == ("a", "b", "c")
    np.testing.assert_array_equal(sums, [matrices[1], matrices[0] + matrices[2], matrices[3]])


@pytest.mark.parametrize("values", [([3], [0]), ([0], [3]), ([254], [0])])
def test_stray_values_are_refused(values: tuple[list[int], list[int]]) -> None:
    truth, predicted = (np.array(value, np.uint8) for value in values)
    with pytest.raises(DataError, match=r"(mask|prediction) holds the value (3|254), .* 0 to 2"):
        confusion_matrix(truth, predicted, 3)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(2, 2\).*\(4,\)"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros(4, np.uint8), 3)

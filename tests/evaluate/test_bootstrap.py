import numpy as np
import pytest

from lpdseg.evaluate import Scores, intervals


def patients(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    quality = rng.uniform(1, 20, (count, 1, 1))
    return rng.poisson(20 * (1 + quality * np.eye(4))).astype(np.int64)


def test_agrees_with_a_plain_loop_over_draws() -> None:
    matrices = patients(12)
    rng = np.random.default_rng(5)
    draws = [Scores.of(matrices[rng.integers(0, 12, 12)].sum(0), 3).miou for _ in range(4000)]
    expected = np.quantile(draws, [0.05, 0.95])
    found = intervals(matrices, 3, level=0.9, resamples=4000)
    assert found is not None
    np.testing.assert_allclose(found.miou, expected, atol=0.01)


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

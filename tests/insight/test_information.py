import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information

from lpdseg.insight.information import mutual_information, purity, tell


def joint_of(faces: np.ndarray, winners: np.ndarray) -> np.ndarray:
    joint = np.zeros((5, 4), np.int64)
    np.add.at(joint, (faces, winners), 1)
    return joint


@given(st.integers(0, 2**32 - 1))
def test_mutual_information_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    faces, winners = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    found = mutual_information(joint_of(faces, winners))
    assert found is not None
    bits, share = found
    assert bits == pytest.approx(mutual_info_score(faces, winners) / np.log(2), abs=1e-9)
    known = np.bincount(faces) / 60
    known = known[known > 0]
    assert share == pytest.approx(bits / -(known * np.log2(known)).sum())


def test_mutual_information_of_plain_cases() -> None:
    assert mutual_information(np.diag([5, 5])) == pytest.approx((1.0, 1.0))
    assert mutual_information(np.full((2, 3), 4)) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert mutual_information(np.array([[3], [9]])) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert mutual_information(np.array([[3, 1], [0, 0]])) is None


@given(st.integers(0, 2**32 - 1))
def test_purity_is_that_of_a_loop_over_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    faces, winners = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    commonest = {one: np.bincount(faces[winners == one]).argmax() for one in set(winners.tolist())}
    right = np.mean([face == commonest[one] for face, one in zip(faces, winners.tolist(), strict=True)])
    assert purity(joint_of(faces, winners)) == pytest.approx((right, np.bincount(faces).max() / 60))
    assert purity(joint_of(np.zeros_like(faces), winners)) is None


@pytest.mark.parametrize("seed", range(3))
def test_chance_agrees_with_scikit_learn_where_nothing_is_given(seed: int) -> None:
    rng = np.random.default_rng(seed)
    other, winner = rng.integers(0, 12, 70), rng.integers(0, 4, 70)
    found = tell(winner, other, np.zeros(70, np.int64))
    assert found is not None
    table = np.zeros((12, 4), np.int64)
    np.add.at(table, (other, winner), 1)
    table = table[table.any(1)]
    assert found.bits == pytest.approx(mutual_info_score(other, winner) / np.log(2))
    assert found.chance == pytest.approx(expected_mutual_information(table, 70) / np.log(2), abs=0.02)
    assert found.chance > 0.2  # so much seems to be told by winners that tell nothing
    assert found.entropy == pytest.approx(mutual_info_score(other, other) / np.log(2))


def test_what_is_given_is_kept_by_chance() -> None:
    given_ = np.repeat([0, 1], 40)
    other = given_ * 2 + np.tile([0, 1], 40)
    found = tell(given_, other, given_)
    assert found is not None
    assert found.bits == pytest.approx(1.0)
    assert found.chance == pytest.approx(1.0)  # all that the winner tells of it
    free = tell(given_, other, np.zeros(80, np.int64))
    assert free is not None
    assert free.chance < 0.1


def test_of_what_is_always_the_same_nothing_can_be_told() -> None:
    assert tell(np.array([0, 1]), np.array([3, 3]), np.array([0, 0])) is None
    assert tell(*[np.zeros(0, np.int64)] * 3) is None

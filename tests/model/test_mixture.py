import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from lpdseg.model import mixture as module
from lpdseg.model.mixture import Mixture, choose_components, expectation_maximisation, fit_mixture

PRIOR = np.ones(3)


def clusters(centres: np.ndarray, each: int, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Values around centres; every patient has some of each."""
    rng = np.random.default_rng(seed)
    truth = np.tile(np.arange(len(centres)), each)
    values = centres[truth] + 0.3 * rng.standard_normal((len(truth), centres.shape[1]))
    return values, [f"p{number % 7}" for number in range(len(truth))], truth


CENTRES = 4 * np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_likelihood_and_responsibilities_are_those_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    mixture = Mixture(rng.normal(size=(2, 3)), np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.7]))
    values = rng.normal(size=(5, 3))
    parts = np.stack(
        [
            weight * multivariate_normal(mean, np.diag(mixture.variance)).pdf(values)
            for mean, weight in zip(mixture.means, mixture.weights, strict=True)
        ],
        1,
    )
    np.testing.assert_allclose(mixture.log_likelihood(values), np.log(parts.sum(1)))
    np.testing.assert_allclose(mixture.responsibilities(values), parts / parts.sum(1, keepdims=True))


def objective(mixture: Mixture, values: np.ndarray) -> float:
    """What EM maximises: the likelihood, times the priors of variance and weights."""
    prior = -module._SHRINKAGE / 2 * (PRIOR / mixture.variance + np.log(mixture.variance)).sum()
    return float(mixture.log_likelihood(values).sum() + prior + np.log(mixture.weights).sum())


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_no_step_away_from_what_em_found_is_better(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(20, 3)) * rng.uniform(0.5, 3, 3)
    found = expectation_maximisation(values, rng.dirichlet(np.ones(count), 20), PRIOR)
    best = objective(found, values)
    for _ in range(5):
        weights = found.weights * np.exp(0.01 * rng.normal(size=count))
        near = Mixture(
            found.means + 0.01 * rng.normal(size=found.means.shape),
            found.variance * np.exp(0.01 * rng.normal(size=3)),
            weights / weights.sum(),
        )
        assert objective(near, values) <= best + 1e-2


def test_clusters_that_all_patients_share_are_found_and_no_more() -> None:
    values, patients, truth = clusters(CENTRES, 20)
    rng = np.random.default_rng(0)
    choice = choose_components(values, 6, 0.1 * PRIOR, rng)
    assert choice.count == 3 and choice.gain > 0
    found = fit_mixture(values, patients, 3, PRIOR, rng)
    owner = found.responsibilities(values).argmax(1)
    assert len({(int(a), int(b)) for a, b in zip(owner, truth, strict=True)}) == 3


def test_one_cloud_is_one_component() -> None:
    rng = np.random.default_rng(0)
    assert choose_components(0.3 * rng.standard_normal((60, 3)), 5, 0.1 * PRIOR, rng).count == 1


def test_which_of_few_descriptions_are_held_out_does_not_decide_how_many_components_there_are() -> None:
    """As many as a small class of tissue has, clusters that lie over each other; a third held out says 2 or 3."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8))
    centres *= 2.5 / np.linalg.norm(centres, axis=1, keepdims=True)
    values = centres[rng.integers(3, size=110)] + rng.normal(size=(110, 8))
    found = {choose_components(values, 5, np.ones(8), np.random.default_rng(seed)).count for seed in range(5)}
    assert found == {3}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_descriptions_are_one_component(number: int) -> None:
    rng = np.random.default_rng(0)
    values, patients = rng.normal(size=(number, 3)), ["a"] * number
    assert choose_components(values, 5, PRIOR, rng).count == 1
    found = fit_mixture(values, patients, 1, PRIOR, rng)
    assert len(found.weights) == 1 and np.isfinite(found.means).all()


def test_descriptions_that_are_all_alike_are_one_component() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((20, 3)) + 1e-12
    assert choose_components(values, 5, np.full(3, 1e-9), rng).count == 1


def test_the_same_generator_finds_the_same_mixture() -> None:
    values, patients, _ = clusters(CENTRES, 10)
    one, other = (fit_mixture(values, patients, 3, PRIOR, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.means, other.means)

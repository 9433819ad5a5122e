"""The likelihood of held-out regions by mixtures of those that are large enough."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from lpdseg.model.morphologies import Described


def test_normal_tissue_has_the_likelihood_of_a_normal_distribution(
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 3))
    described = Described(
        values, np.arange(600), np.zeros(600, int), tuple(f"p{n % 12}" for n in range(600)), np.zeros(600, bool)
    )
    score = load_benchmark("smallest_region").score
    likelihood, components = score(described, values, np.ones(600), 0.2)
    assert components == 1
    assert likelihood == pytest.approx(-1.5 * np.log(2 * np.pi * np.e), abs=0.05)


def test_regions_that_are_too_small_to_say_anything_are_held_out_but_not_learnt_from(
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    """Small ones are noise: with them in the fit, the large ones are less likely."""
    rng = np.random.default_rng(0)
    large = rng.random(600) < 0.5
    values = np.where(large[:, None], rng.normal(size=(600, 3)), rng.normal(0, 6, (600, 3)))
    described = Described(
        values, np.arange(600), np.zeros(600, int), tuple(f"p{n % 12}" for n in range(600)), np.zeros(600, bool)
    )
    score = load_benchmark("smallest_region").score
    share = np.where(large, 0.9, 1e-6)
    assert score(described, values, share, 0.5)[0] > score(described, values, share, 0.0)[0] + 0.2

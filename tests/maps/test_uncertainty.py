import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from lpdseg.maps.uncertainty import gap_of_two_best, is_unsure, normalised_entropy, tempered

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


def closed_logits(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(*shape, generator=generator)
    closed = torch.rand(*shape, generator=generator) < 0.2
    closed[..., 0, :, :] = False
    return logits.masked_fill(closed, -torch.inf)


def probabilities(seed: int, *shape: int) -> torch.Tensor:
    return closed_logits(seed, *shape).softmax(-3)


@given(st.integers(0, 10**6), SHAPES)
def test_entropy_and_gap_are_those_of_a_plain_loop(seed: int, shape: tuple[int, int, int]) -> None:
    n, height, width = shape
    given_ = probabilities(seed, 2, n, height, width)
    spread, gap = normalised_entropy(given_), gap_of_two_best(given_)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(height), torch.arange(width)).tolist():
        pixel = given_[b, :, y, x].double().numpy()
        expected = entropy(pixel) / math.log(n) if n > 1 else 0.0
        assert float(spread[b, y, x]) == pytest.approx(expected, abs=1e-5)
        best, second, *_ = [*sorted(map(float, pixel), reverse=True), 0.0]
        assert float(gap[b, y, x]) == pytest.approx(best - second, abs=1e-6)
        assert is_unsure(gap, 0.3)[b, y, x] == (gap[b, y, x] < 0.3)


def test_the_ends_of_both_scales() -> None:
    even, certain = torch.full((4, 1, 1), 0.25), torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None, None]
    assert normalised_entropy(even).item() == 1 and gap_of_two_best(even).item() == 0
    assert normalised_entropy(certain).item() == 0 and gap_of_two_best(certain).item() == 1
    assert not is_unsure(gap_of_two_best(even), 0.0).any()  # a threshold of 0 finds nothing
    assert is_unsure(gap_of_two_best(torch.tensor([0.55, 0.45])[:, None, None]), 0.2).all()


def test_a_class_that_is_closed_counts_among_the_n() -> None:
    halves = torch.tensor([0.5, 0.5, 0.0, 0.0])[:, None, None]
    assert normalised_entropy(halves).item() == pytest.approx(0.5)


@given(st.integers(0, 10**6), SHAPES, st.floats(0.2, 5))
def test_a_temperature_divides_the_logits_and_keeps_the_order(
    seed: int, shape: tuple[int, int, int], temperature: float
) -> None:
    logits = closed_logits(seed, 2, *shape)
    found = tempered(logits.softmax(1), temperature)
    torch.testing.assert_close(found, (logits / temperature).softmax(1), atol=1e-5, rtol=1e-4)
    assert (found[logits == -torch.inf] == 0).all()


def test_at_temperature_1_nothing_is_changed() -> None:
    given_ = probabilities(0, 3, 4, 5)
    assert tempered(given_, 1.0) is given_


def test_rounding_takes_no_entropy_above_1() -> None:
    for channels in range(2, 33):  # of 7, 14 and others the sum of even shares rounds to more than log n
        assert normalised_entropy(torch.full((channels, 1, 1), 1 / channels)).item() == pytest.approx(1, abs=1e-6)
        assert normalised_entropy(torch.full((channels, 1, 1), 1 / channels)).item() <= 1

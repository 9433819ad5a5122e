import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.maps.normalise import unit_range


@given(st.integers(0, 10**6), st.floats(0.1, 50), st.floats(-50, 50))
def test_each_map_spans_0_to_1(seed: int, size: float, shift: float) -> None:
    torch.manual_seed(seed)
    maps = torch.randn(2, 3, 4, 5) * size + shift
    unit = unit_range(maps)
    for b in range(2):
        for c in range(3):
            low, high = maps[b, c].min(), maps[b, c].max()
            torch.testing.assert_close(unit[b, c], (maps[b, c] - low) / (high - low))


def test_a_constant_map_becomes_0_and_its_gradient_is_finite() -> None:
    maps = torch.full((1, 3, 3), 7.0, requires_grad=True)
    unit = unit_range(maps)
    unit.sum().backward()
    assert not unit.any()
    assert bool(maps.grad.isfinite().all())


def test_what_is_all_but_constant_is_not_blown_up() -> None:
    assert unit_range(torch.tensor([[3e-7, 8e-7]])).max().item() == pytest.approx(0.5, rel=1e-3)

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lpdseg.model.prototypes import CosineMap, Projection, PrototypeBank


def test_prototypes_are_class_major_and_standard_normal() -> None:
    torch.manual_seed(0)
    bank = PrototypeBank((3, 1, 2), 4096)
    assert bank.weight.shape == (6, 4096)
    assert bank.class_of.tolist() == [0, 0, 0, 1, 2, 2]
    torch.testing.assert_close(bank.weight.mean(1), torch.zeros(6), atol=0.06, rtol=0)
    torch.testing.assert_close(bank.weight.std(1), torch.ones(6), atol=0.04, rtol=0)
    assert set(bank.state_dict()) == {"weight"}


def test_a_projection_is_two_linear_layers_with_small_weights_and_no_bias() -> None:
    torch.manual_seed(0)
    projection = Projection(512, 256, 64)
    first, act, second = projection.layers
    assert isinstance(act, nn.ReLU)
    assert (first.weight.shape, second.weight.shape) == ((256, 512), (64, 256))
    for layer in (first, second):
        assert not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.weight.abs().max().item() < 2
    prototypes = torch.randn(5, 512)
    expected = torch.relu(prototypes @ first.weight.T) @ second.weight.T
    torch.testing.assert_close(projection(prototypes), expected)


def test_the_scale_starts_at_one_over_the_temperature_and_learns() -> None:
    cosine_map = CosineMap(0.07)
    assert cosine_map.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    cosine_map.scale.backward()
    assert cosine_map.log_scale.grad is not None


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))
def test_cosines_equal_the_loop(batch: int, prototypes: int, channels: int, seed: int) -> None:
    torch.manual_seed(seed)
    features, projected = torch.randn(batch, channels, 2, 3), torch.randn(prototypes, channels)
    found = CosineMap(0.07)(features, projected)
    assert found.shape == (batch, prototypes, 2, 3)
    for b in range(batch):
        for k in range(prototypes):
            for y in range(2):
                for x in range(3):
                    f, p = features[b, :, y, x].tolist(), projected[k].tolist()
                    dot = sum(m * n for m, n in zip(f, p, strict=True))
                    norms = math.sqrt(sum(m * m for m in f)) * math.sqrt(sum(n * n for n in p))
                    assert found[b, k, y, x].item() == pytest.approx(dot / norms, abs=1e-5)


def test_autocast_changes_neither_projection_nor_cosine() -> None:
    torch.manual_seed(0)
    features, prototypes = torch.randn(2, 6, 4, 4), torch.randn(3, 8)
    projection, cosine_map = Projection(8, 7, 6), CosineMap(0.07)
    exact = cosine_map(features, projection(prototypes))
    with torch.autocast("cpu", torch.bfloat16):
        projected = projection(prototypes)
        found = cosine_map(features, projected)
        narrow = cosine_map(features.bfloat16(), projected)
    assert found.dtype == narrow.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_and_tiny_vectors_have_finite_cosines_and_gradients(dtype: torch.dtype) -> None:
    features = torch.zeros(1, 4, 1, 2, dtype=dtype)
    features[0, 0, 0, 1] = 6e-8
    features.requires_grad_()
    projected = torch.zeros(2, 4, requires_grad=True)
    cosine = CosineMap(0.07)(features.relu(), torch.cat([projected[:1], projected[1:] + 1]))
    cosine.sum().backward()
    assert not cosine[0, :, 0, 0].any()
    assert bool(cosine.isfinite().all() and (cosine.abs() <= 1 + 1e-6).all())
    assert not features.grad.isnan().any()
    assert not projected.grad.isnan().any()

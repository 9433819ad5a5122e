import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lpdseg.maps.fuse import activation, fuse_scales


def test_activation_of_a_hand_computed_map() -> None:
    maps = torch.tensor([[[[-3.0, 1.0], [2.0, 4.0]], [[-1.0, -2.0], [-3.0, -4.0]]]])
    expected = torch.tensor([[[[0.0, 0.25], [0.5, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(activation(maps), expected)


def test_fusion_is_the_weighted_mean_of_the_enlarged_scales() -> None:
    torch.manual_seed(0)
    scores = {1: torch.rand(2, 3, 4, 6), 2: torch.rand(2, 3, 2, 3), 3: torch.rand(2, 3, 2, 3)}
    weights = {1: 3.0, 2: 3.0, 3: 4.0}
    enlarged = [F.interpolate(part, size=(8, 12), mode="bilinear", align_corners=False) for part in scores.values()]
    expected = 0.3 * enlarged[0] + 0.3 * enlarged[1] + 0.4 * enlarged[2]
    torch.testing.assert_close(fuse_scales(scores, weights, (8, 12)), expected)


def test_weights_of_scales_that_are_not_given_do_not_dim_the_rest() -> None:
    scores = {2: torch.ones(1, 1, 2, 2)}
    torch.testing.assert_close(fuse_scales(scores, {1: 0.3, 2: 0.7}, (4, 4)), torch.ones(1, 1, 4, 4))


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_scores_stay_in_0_to_1_at_any_size(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    fused = fuse_scales({0: torch.rand(1, 2, 5, 3), 1: torch.rand(1, 2, 1, 1)}, {0: 0.2, 1: 5.0}, (height, width))
    assert fused.shape == (1, 2, height, width)
    assert bool((fused >= 0).all() and (fused <= 1 + 1e-6).all())

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lpdseg.maps.crf import dense_crf
from lpdseg.sections import CrfSettings


def smooth(channels: int, height: int, width: int, cell: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, channels, height // cell + 2, width // cell + 2, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bilinear")[0]


def scene(height: int, width: int, labels: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Regions of stained colours with noise, and a blurred and noisy guess at them."""
    region = smooth(labels, height, width, 6, seed).argmax(0)
    colours = torch.tensor([[230, 190, 210], [170, 90, 160], [100, 60, 140], [240, 235, 240], [200, 130, 180]])
    generator = torch.Generator().manual_seed(seed)
    image = colours[region].permute(2, 0, 1) + 12 * torch.randn(3, height, width, generator=generator)
    guess = 1.5 * F.one_hot(region, labels).permute(2, 0, 1) + smooth(labels, height, width, 4, seed + 1)
    return -guess.log_softmax(0), image.clamp(0, 255).byte()


def brute_force(unary: Tensor, image: Tensor, iterations: int = 5) -> Tensor:
    """The same inference as sums over all pairs of pixels."""
    labels, height, width = unary.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([y, x], -1).reshape(-1, 2).double()
    colour = image.reshape(3, -1).T.double()
    joint = torch.cat([place / 10, colour / 20], 1)
    kernels = []
    for compat, features in ((30, place / 15), (50, joint)):
        kernel = torch.exp(-0.5 * (features[:, None] - features).square().sum(-1))
        norm = kernel.sum(1).sqrt()
        kernels.append(compat * kernel / norm[:, None] / norm)
    score = -unary.reshape(labels, -1).T.double()
    q = score.softmax(1)
    for _ in range(iterations):
        q = (score + sum(kernel @ q for kernel in kernels)).softmax(1)
    return q.T.reshape(labels, height, width).float()


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_brute_force(seed: int) -> None:
    unary, image = scene(40, 52, seed=seed)
    q, expected = dense_crf(unary[None], image[None])[0], brute_force(unary, image)
    assert (q - expected).abs().mean() < 0.002
    assert (q.argmax(0) == expected.argmax(0)).float().mean() > 0.995
    before = (unary.argmin(0) == expected.argmax(0)).float().mean()
    assert before < 0.9  # the agreement is not for want of change


def test_the_spatial_kernel_is_exact() -> None:
    unary, image = scene(20, 24)
    ours = dense_crf(unary[None], image[None], iterations=1, bilateral_compat=0.0)[0]
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    place = torch.stack([y, x], -1).reshape(-1, 2)
    kernel = torch.exp(-torch.cdist(place, place).square() / 2 / 15**2)
    kernel = 30 * kernel / (kernel.sum(0)[:, None] * kernel.sum(0)).sqrt()
    score = -unary.reshape(4, -1).T
    expected = (score + kernel @ score.softmax(1)).softmax(1).T.reshape(4, 20, 24)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def test_a_batch_is_its_images_one_by_one() -> None:
    scenes = [scene(24, 32, seed=seed) for seed in range(3)]
    unary, images = (torch.stack(part) for part in zip(*scenes, strict=True))
    together = dense_crf(unary, images)
    for i in range(3):
        alone = dense_crf(unary[i : i + 1], images[i : i + 1])[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-3, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20),
    st.sampled_from([0.1, 10.0, 1e4, 1e20]), st.integers(0, 2**31),
)  # fmt: skip
def test_q_is_a_distribution_whatever_the_size(
    batch: int, labels: int, height: int, width: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    unary = scale * torch.randn(batch, labels, height, width, generator=generator)
    images = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    q = dense_crf(unary, images)
    assert q.shape == unary.shape
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(1), torch.ones(batch, height, width))


def test_forbidden_labels_stay_at_zero_and_nothing_is_nan() -> None:
    unary, image = scene(16, 20)
    unary[2] = math.inf
    unary[:3, 4, 5] = math.inf
    unary[:, 8, 9] = math.inf
    q = dense_crf(unary[None], image[None])[0]
    assert q.isfinite().all()
    decided = torch.ones(16, 20, dtype=torch.bool)
    decided[8, 9] = False
    assert (q[2][decided] == 0).all()
    assert q[3, 4, 5] == 1
    # Leaving a label out is the same as forbidding it.
    unary[:, 8, 9] = torch.tensor([1.0, 1.0, math.inf, 1.0])
    without = dense_crf(unary[None, [0, 1, 3]], image[None])[0]
    torch.testing.assert_close(dense_crf(unary[None], image[None])[0, [0, 1, 3]], without)


def test_a_certain_map_on_a_flat_image_stays() -> None:
    labels = torch.zeros(32, 32, dtype=torch.int64)
    labels[:, 16:] = 1
    unary = 200.0 * (1 - F.one_hot(labels, 3)).permute(2, 0, 1).float()
    q = dense_crf(unary[None], torch.full((1, 3, 32, 32), 128, dtype=torch.uint8))
    assert torch.equal(q[0].argmax(0), labels)


def test_smooths_within_a_colour_and_keeps_its_edge() -> None:
    image = torch.full((3, 32, 32), 230, dtype=torch.uint8)
    image[:, :, 13:] = 90
    truth = (image[0] == 90).long()
    noise = torch.rand(32, 32, generator=torch.Generator().manual_seed(0)) < 0.25
    unary = 1.0 * (1 - F.one_hot(truth ^ noise, 2)).permute(2, 0, 1).float()
    q = dense_crf(unary[None], image[None], gaussian_compat=3.0)[0]
    assert torch.equal(q.argmax(0), truth)
    # With distance alone the noise goes too, but the edge moves.
    blind = dense_crf(unary[None], image[None], bilateral_compat=0.0)[0]
    assert not torch.equal(blind.argmax(0), truth)


def test_a_constant_added_to_all_energies_changes_nothing() -> None:
    unary, image = scene(16, 16)
    torch.testing.assert_close(
        dense_crf(unary[None] + 100, image[None]), dense_crf(unary[None], image[None]), atol=1e-3, rtol=0
    )


def test_no_iteration_is_the_softmax_of_the_unary() -> None:
    unary, image = scene(8, 8)
    torch.testing.assert_close(dense_crf(unary[None], image[None], iterations=0)[0], (-unary).softmax(0))


def test_runs_in_float32_under_autocast() -> None:
    unary, image = scene(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        cast = dense_crf(unary[None], image[None])
    assert torch.equal(cast, dense_crf(unary[None], image[None]))


@pytest.mark.parametrize("name", ["gaussian_sxy", "bilateral_sxy", "bilateral_srgb"])
def test_standard_deviations_must_be_above_zero(name: str) -> None:
    unary, image = scene(8, 8)
    with pytest.raises(ValueError, match="above 0"):
        dense_crf(unary[None], image[None], **{name: 0.0})


def test_left_to_itself_it_is_as_the_settings_have_it() -> None:
    defaults = {
        name: one.default
        for name, one in inspect.signature(dense_crf).parameters.items()
        if one.default is not inspect.Parameter.empty
    }
    assert defaults == CrfSettings().model_dump()

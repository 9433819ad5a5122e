import pytest
import torch
from torch.nn import functional as F

from lpdseg.maps.background import background_score, glass_share, outside_glass
from lpdseg.maps.sampling import every


def test_power_is_the_published_score() -> None:
    highest = torch.tensor([0.2, 0.9, 1.0, 0.0]).view(1, 1, 2, 2)
    found = background_score("power", highest, None, 10.0)
    assert found is not None
    torch.testing.assert_close(found.flatten(), torch.tensor([0.8**10, 0.1**10, 0.0, 1.0]))


def test_none_has_no_score() -> None:
    assert background_score("none", torch.rand(1, 1, 2, 2), torch.rand(1, 1, 2, 2), 10.0) is None


def test_glass_is_the_score_and_takes_from_the_classes() -> None:
    glass, scores = torch.rand(2, 1, 3, 4), torch.rand(2, 3, 3, 4)
    assert background_score("glass", torch.rand(2, 1, 3, 4), glass, 10.0) is glass
    torch.testing.assert_close(outside_glass(scores, glass), scores * (1 - glass))
    assert outside_glass(scores, None) is scores


@pytest.mark.parametrize("size", [(3, 4), (40, 17)])
def test_glass_is_what_lets_the_light_through(size: tuple[int, int]) -> None:
    images = torch.full((2, 3, *size), 0.96)
    images[1] = torch.tensor([0.75, 0.35, 0.6])[:, None, None]
    share = glass_share(images)
    assert share.shape == (2, 1, *size)
    assert float(share[0].min()) > 0.9
    assert float(share[1].max()) < 0.1


def test_glass_needs_more_than_a_chink_and_survives_black() -> None:
    images = torch.full((1, 3, 45, 45), 0.4)
    images[..., 22:24, 22:24] = 1.0
    images[..., :3, :3] = 0.0
    share = glass_share(images)
    assert bool(share.isfinite().all())
    assert float(share.max()) < 0.1


def test_glass_is_a_step_on_the_density_averaged_over_13_by_13_pixels() -> None:
    images = torch.rand(1, 3, 21, 30, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.7
    images[..., 4:, 9:] *= 0.9
    images[0, :, 0, 0] = 0.0
    density = F.pad(-images.clamp(min=1 / 255).log10().mean(1, keepdim=True), [6] * 4, mode="replicate")[0, 0]
    for row, column in ((0, 0), (5, 11), (20, 29), (12, 0)):
        mean = float(density[row : row + 13, column : column + 13].mean())
        expected = torch.sigmoid(torch.tensor((0.06 - mean) / 0.008))
        torch.testing.assert_close(glass_share(images)[0, 0, row, column], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 3), (16, 16), (37, 50)])
@pytest.mark.parametrize("step", [2, 4, 5])
def test_glass_of_some_pixels_is_that_of_all(step: int, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.7
    rows, columns = (every(step, side) for side in size)
    torch.testing.assert_close(
        glass_share(images, step), glass_share(images)[..., rows, columns], atol=1e-6, rtol=1e-6
    )


def test_every_so_many_pixels_from_the_middle_of_the_first_step() -> None:
    assert list(range(11))[every(4, 11)] == [2, 6, 10]
    assert list(range(2))[every(4, 2)] == [1]
    assert list(range(1))[every(4, 1)] == [0]
    assert list(range(3))[every(1, 3)] == [0, 1, 2]

import pytest
import torch

from lpdseg.maps.background import with_background

OPEN = torch.ones(1, 2, dtype=torch.bool)


def test_power_is_the_published_score() -> None:
    scores = torch.tensor([0.2, 0.9, 1.0, 0.0]).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    scores[:, 0] *= 0.5
    kept, found = with_background("power", scores, OPEN, torch.rand(1, 3, 2, 2), 10.0)
    assert found is not None
    torch.testing.assert_close(kept, scores)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.8**10, 0.1**10, 0.0, 1.0]))


def test_none_has_no_score() -> None:
    scores = torch.rand(1, 2, 2, 2)
    kept, found = with_background("none", scores, OPEN, torch.rand(1, 3, 2, 2), 10.0)
    assert found is None and torch.equal(kept, scores)


@pytest.mark.parametrize("size", [(3, 4), (40, 17)])
def test_glass_is_what_lets_the_light_through(size: tuple[int, int]) -> None:
    images = torch.full((2, 3, *size), 0.96)
    images[1] = torch.tensor([0.75, 0.35, 0.6])[:, None, None]
    classes = torch.rand(2, 1, *size)
    kept, score = with_background("glass", classes, OPEN[:, :1].expand(2, 1), images, 10.0)
    assert score is not None
    torch.testing.assert_close(kept, classes * (1 - score))
    assert score.shape == (2, 1, *size)
    assert float(score[0].min()) > 0.9
    assert float(score[1].max()) < 0.1


def test_glass_needs_more_than_a_chink_and_survives_black() -> None:
    images = torch.full((1, 3, 45, 45), 0.4)
    images[..., 22:24, 22:24] = 1.0
    images[..., :3, :3] = 0.0
    _, score = with_background("glass", torch.rand(1, 1, 45, 45), OPEN[:, :1], images, 10.0)
    assert score is not None
    assert bool(score.isfinite().all())
    assert float(score.max()) < 0.1

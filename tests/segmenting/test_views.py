from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.choices import View
from lpdseg.segmenting.views import make_views, mean_of_views

ALL: tuple[View, ...] = get_args(View)
VIEWS = st.lists(st.sampled_from(ALL), min_size=1, max_size=6).map(tuple)


def test_the_published_six_are_flip_times_brightness() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 4, 5) * 0.9
    views = make_views(images, ALL)
    expected = [part for b in (1.0, 0.9, 1.1) for part in (images * b, (images * b).flip(-1))]
    torch.testing.assert_close(views, torch.cat(expected))


def test_brightness_stays_in_0_to_1() -> None:
    assert make_views(torch.ones(1, 3, 2, 2), ("bright", "flip_bright")).max().item() == 1


@given(VIEWS, st.integers(1, 3), st.integers(0, 10**6))
def test_flips_are_undone_exactly(views: tuple[View, ...], batch: int, seed: int) -> None:
    """Maps that move with the image: each view gives the same ones, up to its brightness."""
    torch.manual_seed(seed)
    images = torch.rand(batch, 3, 4, 6) * 0.5
    brightness = [0.9 if "dark" in view else 1.1 if "bright" in view else 1.0 for view in views]
    found = mean_of_views(make_views(images, views), views)
    torch.testing.assert_close(found, images * (sum(brightness) / len(views)))


@pytest.mark.parametrize("view", ["flip", "plain"])
def test_a_single_view_comes_back_bit_for_bit(view: View) -> None:
    images = torch.rand(2, 3, 5, 7)
    assert mean_of_views(make_views(images, (view,)), (view,)).equal(images)


def test_views_are_not_mixed_up_between_images() -> None:
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 2, 2) / 2
    found = mean_of_views(make_views(images, ("plain", "flip")), ("plain", "flip"))
    torch.testing.assert_close(found, images)

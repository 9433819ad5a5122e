from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lpdseg.maps.pad import pad_to_stride
from lpdseg.model.encoders import build_encoder
from lpdseg.model.pyramid import FINE, Pyramid
from small_families import save_small


@pytest.mark.parametrize("side", [8, 14, 16, 32])
def test_a_token_lands_where_its_patch_is(side: int) -> None:
    pyramid = Pyramid([4, 4, 4, 4])
    pyramid.mix = nn.ModuleList(nn.Identity() for _ in range(4))
    for stem in pyramid.stem:
        nn.init.zeros_(stem[-1].weight)
        nn.init.zeros_(stem[-1].bias)
    for lateral in pyramid.lateral:
        nn.init.ones_(lateral.weight)
        nn.init.zeros_(lateral.bias)
    tokens = torch.zeros(1, 4, 8, 8)
    tokens[0, :, 5, 2] = 1
    with torch.no_grad():
        scales = pyramid([tokens] * 4, torch.rand(1, 3, 8 * side, 8 * side))
    for values, stride in zip(scales, (*FINE, side, side), strict=True):
        assert values.shape[-1] == 8 * side // stride
        weights = values[0, 0] / values[0, 0].sum()
        centres = (torch.arange(values.shape[-1]) + 0.5) * stride
        middle = (float((weights.sum(1) * centres).sum()), float((weights.sum(0) * centres).sum()))
        assert middle == pytest.approx((5.5 * side, 2.5 * side), abs=0.5)  # bilinear samples of 14 px every 4 or 8


def test_detail_finer_than_tokens_comes_from_the_image() -> None:
    torch.manual_seed(0)
    pyramid = Pyramid([4, 4, 4])
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    scales = pyramid([torch.zeros(1, 4, 4, 4)] * 3, image)
    for level in range(2):
        (gradient,) = torch.autograd.grad(scales[level][0, :, 3, 3].sum(), image, retain_graph=True)
        assert gradient.any()
    assert torch.autograd.grad(scales[2].sum(), image, allow_unused=True) == (None,)


def cut(values: Tensor, side: int, stride: int) -> Tensor:
    return values[..., : -(-side // stride), : -(-side // stride)]


@pytest.mark.parametrize("family", ["dinov2", "vit"])
def test_ragged_images_show_what_their_mirrored_enlargement_shows(family: str, tmp_path: Path) -> None:
    encoder = build_encoder("auto", save_small(family, tmp_path)).eval()
    torch.manual_seed(0)
    images = torch.rand(2, 3, 100, 100)
    side = 14 if family == "dinov2" else 16
    with torch.no_grad():
        ragged, whole = encoder(images), encoder(pad_to_stride(images, encoder.stride))
        for mine, theirs, stride in zip(ragged, whole, (*FINE, side, side), strict=True):
            torch.testing.assert_close(mine, cut(theirs, 100, stride))
        for mine, theirs in zip(ragged, encoder.finish(encoder.encode(images), images), strict=True):
            torch.testing.assert_close(mine, theirs)

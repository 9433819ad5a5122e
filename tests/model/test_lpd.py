from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from lpdseg.model.encoders import build_encoder
from lpdseg.model.lpd import LPD


@pytest.fixture(scope="module")
def pvt() -> LPD:
    torch.manual_seed(0)
    return LPD(build_encoder("pvt_v2_b0"), (3, 2), width=512, hidden=256, temperature=0.07).eval()


def test_the_shapes_of_the_method_at_64_pixels(pvt: LPD) -> None:
    """Strides (4, 2, 2, 1): stage 4 keeps the resolution of stage 3."""
    with torch.no_grad():
        features = pvt.encoder(torch.rand(2, 3, 64, 64))
        outputs = pvt.compare(features)
    widths, sides = (32, 64, 160, 256), (16, 8, 4, 4)
    assert pvt.encoder.widths == widths
    assert [tuple(part.shape) for part in features] == [(2, c, n, n) for c, n in zip(widths, sides, strict=True)]
    for level, (channels, side) in enumerate(zip(widths, sides, strict=True)):
        assert outputs[level].projected.shape == (5, channels)
        assert outputs[level].cosine.shape == outputs[level].maps.shape == (2, 5, side, side)


def test_maps_are_scaled_cosines_of_features_and_projected_prototypes(tiny_lpd: Callable[..., LPD]) -> None:
    model = tiny_lpd(counts=(2, 3))
    with torch.no_grad():
        model.cosines[1].log_scale.fill_(1.0)
        images = torch.rand(2, 3, 32, 32)
        outputs = model(images)
        features = model.encoder(images)
        for level in range(3):
            projected = model.projections[level](model.bank.weight)
            expected = torch.stack(
                [F.cosine_similarity(features[level], row[None, :, None, None], dim=1) for row in projected], 1
            )
            torch.testing.assert_close(outputs[level].cosine, expected)
            scale = 2.718281828 if level == 1 else 1 / 0.07
            torch.testing.assert_close(outputs[level].maps, expected * scale, rtol=1e-4, atol=1e-5)


def test_only_the_scales_asked_for_are_compared(tiny_lpd: Callable[..., LPD]) -> None:
    model = tiny_lpd()
    calls = []
    for level, part in enumerate(model.cosines):
        part.register_forward_hook(lambda *_, level=level: calls.append(level))
    assert list(model(torch.rand(1, 3, 32, 32), {2, 0})) == [0, 2]
    assert calls == [0, 2]


def test_every_scale_starts_from_the_same_bank(tiny_lpd: Callable[..., LPD]) -> None:
    model = tiny_lpd()
    sum(output.cosine.sum() for output in model(torch.rand(1, 3, 32, 32)).values()).backward()
    assert model.bank.weight.grad is not None
    assert model.bank.weight.grad.shape == (5, 8)
    assert len(model.projections) == len(model.cosines) == model.scales == 3


def test_maps_stay_in_float32_under_autocast(pvt: LPD) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = pvt(torch.zeros(1, 3, 64, 64))
    for output in outputs.values():
        assert output.cosine.dtype == output.maps.dtype == output.projected.dtype == torch.float32
        assert bool(output.cosine.isfinite().all() and (output.cosine.abs() <= 1 + 1e-6).all())


def test_a_training_step_moves_every_part(tiny_lpd: Callable[..., LPD]) -> None:
    model = tiny_lpd()
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    sum((output.maps**2).mean() for output in model(torch.rand(2, 3, 32, 32)).values()).backward()
    optimiser.step()
    unmoved = [name for name, value in model.named_parameters() if value.equal(before[name])]
    assert unmoved == []

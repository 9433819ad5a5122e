from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from lpdseg.errors import SettingsError
from lpdseg.methods import cam
from lpdseg.methods.cam import CamNetwork, CamTask
from lpdseg.model.lpd import LPD
from lpdseg.settings import load_settings


@pytest.fixture
def network(tiny_lpd: Callable[..., LPD]) -> CamNetwork:
    return CamNetwork(tiny_lpd().encoder, 3, [1, 2])


def test_a_map_is_the_pooled_classifier_before_pooling(network: CamNetwork) -> None:
    images = torch.rand(2, 3, 64, 64)
    reading = network.read(images, {1, 2}, "softmax", "pixel")
    features = network.encoder(images)
    assert reading.dense is None and set(reading.maps) == {1, 2}
    for level, values in reading.logits.items():
        classifier = network.classifiers[str(level)]
        pooled = F.linear(features[level].mean((2, 3)), classifier.weight[:, :, 0, 0], classifier.bias)
        assert reading.maps[level].shape == (2, 3, *features[level].shape[-2:])
        torch.testing.assert_close(values, pooled)


def test_grad_cam_of_a_scale_is_its_map_without_the_bias(network: CamNetwork) -> None:
    for level in (1, 2):
        features = network.encoder(torch.rand(1, 3, 64, 64))[level].detach().requires_grad_()
        maps = network.classifiers[str(level)](features)
        for c in range(3):
            (gradient,) = torch.autograd.grad(maps.mean((2, 3))[0, c], features, retain_graph=True)
            by_gradient = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0]
            bias = network.classifiers[str(level)].bias[c]
            torch.testing.assert_close(by_gradient * maps[0, c].numel(), maps[0, c] - bias)


def test_the_loss_is_the_weighted_cross_entropy_of_the_scales(network: CamNetwork) -> None:
    batch = {
        "image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
        "labels": torch.tensor([[1.0, 0, 1], [0, 1, 0]]),
    }
    parts = CamTask(network, (0.0, 0.1, 1.0))(batch, 0.0)
    logits = network.read(batch["image"] / 255, {1, 2}, "mean", "mean").logits
    expected = sum(
        weight * F.binary_cross_entropy_with_logits(logits[level], batch["labels"])
        for level, weight in {1: 0.1, 2: 1.0}.items()
    )
    torch.testing.assert_close(parts["loss"], expected)
    parts["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.classifiers.parameters())


def test_scales_that_are_trained_or_shown_have_a_classifier(tiny_lpd: Callable[..., LPD]) -> None:
    encoder = tiny_lpd().encoder
    settings = load_settings(None, ["loss.scale_weights=[0,0,1]", "predict.fusion=[0,0.4,0.6]"])
    assert set(cam.network(encoder, settings, 2).classifiers) == {"1", "2"}
    with pytest.raises(SettingsError, match="has 4 numbers, the encoder 3 scales"):
        cam.network(encoder, load_settings(None, ["loss.scale_weights=[0,0,1,1]", "predict.fusion=[0,0,1,1]"]), 2)

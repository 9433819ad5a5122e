from collections.abc import Callable

import pytest
import torch

from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model.describing import FrozenDescriber, StainDescriber, build_describer
from lpdseg.model.lpd import LPD


@pytest.fixture
def frozen(tiny_lpd: Callable[..., LPD]) -> FrozenDescriber:
    return FrozenDescriber(tiny_lpd().encoder, "start")


@pytest.mark.parametrize("kind", ["frozen", "stain"])
def test_only_what_is_looked_at_is_described(kind: str, frozen: FrozenDescriber) -> None:
    describer = frozen if kind == "frozen" else StainDescriber()
    torch.manual_seed(0)
    images, weights = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    weights[:, :, :32] = 1
    found = describer(images, weights)
    images[:, :, 40:] = 0.5  # far enough for bands of texture
    if kind == "frozen":
        torch.testing.assert_close(describer(images, weights), found)
    else:
        torch.testing.assert_close(describer(images, weights)[..., :3], found[..., :3])
    assert not describer(images, 1 - weights).isclose(found).all()


def test_mean_and_spread_are_each_at_unit_length(frozen: FrozenDescriber) -> None:
    images = torch.rand(2, 3, 64, 64)
    found = frozen(images, torch.ones(2, 1, 64, 64))
    values = frozen.encoder(images)[-2]
    mean = torch.nn.functional.normalize(values.mean((2, 3)), dim=1)
    spread = torch.nn.functional.normalize(values.std((2, 3), correction=0), dim=1)
    torch.testing.assert_close(found[:, 0, : 2 * values.shape[1]], torch.cat([mean, spread], 1))


def test_several_parts_of_an_image_are_described_at_once_and_nothing_is_told_of_none(
    frozen: FrozenDescriber,
) -> None:
    torch.manual_seed(0)
    images, weights = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    weights[1, 2] = 0
    together = frozen(images, weights)
    for n in range(3):
        torch.testing.assert_close(together[:, n], frozen(images, weights[:, n : n + 1])[:, 0])
    assert not together[1, 2].any()


def test_steps_in_halves_change_no_description(frozen: FrozenDescriber) -> None:
    images, weights = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = frozen(images, weights)
    torch.testing.assert_close(found, frozen(images, weights), rtol=0, atol=0)


def test_training_the_encoder_changes_no_description(tiny_lpd: Callable[..., LPD]) -> None:
    encoder = tiny_lpd().encoder
    describer, images = FrozenDescriber(encoder, "start"), torch.rand(1, 3, 64, 64)
    before = describer(images, torch.ones(1, 1, 64, 64))
    with torch.no_grad():
        for values in (*encoder.parameters(), *encoder.buffers()):
            values.mul_(1.5)
    torch.testing.assert_close(describer(images, torch.ones(1, 1, 64, 64)), before)


def test_random_weights_describe_nothing_unless_they_are_asked_to(
    tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_lpd().encoder
    monkeypatch.setattr("lpdseg.model.describing.has_pip_weights", lambda _: False)
    assert build_describer("auto", encoder).name == "stain"
    assert build_describer("start", encoder).name == "start"
    encoder.source = {"weights": "somewhere"}
    assert build_describer("auto", encoder).name == "start"


def test_weights_that_are_not_there_are_named(tiny_lpd: Callable[..., LPD]) -> None:
    with pytest.raises((WeightsError, SettingsError), match="nowhere"):
        build_describer("./nowhere", tiny_lpd().encoder)

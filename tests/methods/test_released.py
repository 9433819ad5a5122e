from collections.abc import Callable

import pytest
import torch

from lpdseg.errors import SettingsError
from lpdseg.losses.released import released_diversity
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.methods import released
from lpdseg.model.lpd import LPD
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("a", "b"), background=None)
SMALL = (
    "model.prototypes=3", "model.prototype_dim=6", "model.hidden_dim=7", "loss.scale_weights=[0,0.1,1]",
    "predict.fusion=[0,0.4,0.6]", "loss.warmup=0.2", "loss.contrast.weight=0.1", "loss.diversity.weight=0.5",
)  # fmt: skip


def settings(*overrides: str) -> Settings:
    return load_settings(None, [*SMALL, *overrides])


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
        "labels": torch.tensor([[1.0, 0], [1, 1]]),
    }


def test_prototypes_must_be_as_wide_as_the_last_features(tiny_lpd: Callable[..., LPD]) -> None:
    encoder = tiny_lpd().encoder
    with pytest.raises(SettingsError, match=r"features of 6 channels as they are; set model\.prototype_dim=6"):
        released.network(encoder, settings("model.prototype_dim=8"), 2)
    released.network(encoder, settings("model.prototype_dim=8", "loss.diversity.weight=0"), 2)


def test_the_objective_is_the_sum_of_its_parts(tiny_lpd: Callable[..., LPD]) -> None:
    task = released.task(tiny_lpd().encoder, settings(), CLASSES)
    assert set(task(batch(), 0.1)) == {"loss", "classification"}
    parts = task(batch(), 0.2)
    expected = (
        parts["classification"]
        + 0.1 * (parts["foreground"] + parts["background"] + 5e-4 * parts["map_mean"])
        + 0.5 * parts["diversity"]
    )
    torch.testing.assert_close(parts["loss"], expected)
    parts["loss"].backward()
    assert not task.model.has_head and task.teacher is None
    off = released.task(tiny_lpd().encoder, settings("loss.contrast.weight=0", "loss.diversity.weight=0"), CLASSES)
    assert set(off(batch(), 0.9)) == {"loss", "classification"}


def test_the_diversity_sees_features_and_prototypes_as_they_are(tiny_lpd: Callable[..., LPD]) -> None:
    task = released.task(tiny_lpd().encoder, settings(), CLASSES)
    found = task(batch(), 0.5)["diversity"]
    features = task.model.encoder(batch()["image"] / 255)
    maps = task.model.merge(task.model.compare(features)[2].maps, "softmax")
    bank = task.model.bank
    mask = pseudo_mask(maps, torch.ones(2, 2), None)  # not limited to the label
    expected = released_diversity(features[-1], bank.weight, mask, bank.slots, bank.real, bank.class_of).mean
    torch.testing.assert_close(found, expected)

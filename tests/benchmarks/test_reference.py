"""The plain reference and the package agree: losses, and gradients of every parameter."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from lpdseg.methods.lpd_task import LpdTask
from lpdseg.model.image_encoders import FrozenTower
from lpdseg.model.lpd import LPD
from lpdseg.sections import CompositeSettings, ContrastSettings, DiversitySettings, LossSettings


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 6, 3)

    def forward(self, images: Tensor) -> object:
        return type("Output", (), {"pooler_output": self.mix(images).tanh().mean((2, 3))})


@pytest.mark.parametrize("power", [None, 1.0])
@pytest.mark.parametrize(("fill", "negatives"), [("white", "other_classes"), ("black", "published")])
def test_losses_and_gradients_agree(
    fill: str,
    negatives: str,
    power: float | None,
    tiny_lpd: Callable[..., LPD],
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        contrast=ContrastSettings(weight=0.2, map_weight=0.3, fill=fill, negatives=negatives),  # type: ignore[arg-type]
        diversity=DiversitySettings(weight=0.5, temperature=0.3, pixels="class"),
        composite=CompositeSettings(weight=0),
    )
    model = tiny_lpd()
    torch.manual_seed(2)
    tower = FrozenTower(Pooled(), nn.Identity(), 6, 48, {"encoder": "test"}, (0.5,) * 3, (0.5,) * 3)
    task = LpdTask(model, settings, "mean", tower, power, hidden=7)
    batch = {
        "image": torch.randint(256, (3, 3, 48, 48), dtype=torch.uint8),
        "labels": torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
    }
    ours = task(batch, done=0.99)
    images = batch["image"].float() / 255
    theirs = load_benchmark("reference").reference_loss(
        model, settings, images, batch["labels"], tower, task.contrast_head, power
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6, check_dtype=False, msg=name)
    parameters = [one for one in task.parameters() if one.requires_grad]
    found = torch.autograd.grad(ours["loss"], parameters, allow_unused=True)
    wanted = torch.autograd.grad(theirs["loss"], parameters, allow_unused=True)
    for mine, other in zip(found, wanted, strict=True):
        if mine is None or other is None:
            assert mine is None or not mine.any()
            assert other is None or not other.any()
        else:
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)

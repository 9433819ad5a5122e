"""What every test runs under: annotated shapes are checked, one thread, no deadline for drawn examples."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from lpdseg.model.lpd import LPD

install_import_hook(
    [
        "lpdseg.data.augment",
        "lpdseg.data.dataset",
        "lpdseg.losses",
        "lpdseg.maps",
        "lpdseg.model",
        "lpdseg.segment",
        "lpdseg.training.optimiser",
        "lpdseg.training.task",
    ],
    "beartype.beartype",
)
torch.set_num_threads(1)
hypothesis.settings.register_profile("tests", deadline=None, max_examples=30)
hypothesis.settings.load_profile("tests")


class PooledBackbone(nn.Module):
    """Maximum pooling and a 1 x 1 convolution per scale: cheap, and it commutes with flips."""

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        self.mixers = nn.ModuleList(nn.Conv2d(3, width, 1) for width in widths)

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        pooled = [F.max_pool2d(pixels, stride) for stride in self.strides]
        return SimpleNamespace(feature_maps=[mix(part) for mix, part in zip(self.mixers, pooled, strict=True)])


@pytest.fixture
def tiny_lpd() -> Callable[..., "LPD"]:
    """A builder of small LPD models: `counts` prototypes per class, one scale per width."""

    def build(
        counts: tuple[int, ...] = (2, 3),
        widths: tuple[int, ...] = (4, 5, 6),
        strides: tuple[int, ...] = (4, 8, 16),
        seed: int = 0,
    ) -> "LPD":
        from lpdseg.model.encoders import Encoder
        from lpdseg.model.lpd import LPD

        torch.manual_seed(seed)
        encoder = Encoder(PooledBackbone(widths, strides), widths, mean=(0.5,) * 3, std=(0.25,) * 3)
        return LPD(encoder, counts, width=8, hidden=7, temperature=0.07)

    return build

"""What tissue looks like to somebody who learns nothing here: descriptions that tell the morphologies of a class.

Training on classes erases what sets the morphologies of a class apart; pretrained features hold it. B images of
H x W pixels, RGB in [0, 1]; D numbers describe the tissue of one, or of a part of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpdseg.errors import SettingsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.model.pip_weights import AUTO, PIP, has_pip_weights

_SCALES = 2
"""The coarsest scales of an encoder, which are described."""

_BANDS = 4
"""Octaves of texture in hand-made descriptions, the finest of 2 px."""

_LEAST = 1e-6

STAIN = "stain"
START = "start"
OWN = "own"

WORDS = frozenset({AUTO, START, OWN, STAIN, PIP})
"""Describers that are not named by a folder or hub id."""

BY_PIP = "efficientnet_lite0"
"""Whose weights `PIP` are."""
"""The run's encoder as it is after the warm-up."""


class Describer(ABC):
    """Images and where to look → what is there.

    - `name`: for the record of a run.
    - `source`: which weights, as `lpdseg.model.pretrained.weights_source`, where they are not the run's own.
    """

    name: str
    source: dict[str, str] | None = None

    @abstractmethod
    def maps(self, images: Float[Tensor, "B 3 H W"]) -> Sequence[Float[Tensor, "B _C h w"]]:
        """What is averaged: features in groups, each of one size."""

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "B 3 H W"], weights: Float[Tensor, "B n H W"]
    ) -> Float[Tensor, "B n D"]:
        """Mean and standard deviation of every feature where each of n weights (≥ 0) looks, at unit length."""
        parts = []
        with torch.autocast(images.device.type, enabled=False):  # steps may be in halves; statistics are not
            for values in self.maps(images):
                share = F.interpolate(weights.float(), size=values.shape[-2:], mode="area").flatten(2)
                share = share / share.sum(2, keepdim=True).clamp(min=_LEAST)
                flat = values.flatten(2)
                mean = share @ flat.mT
                apart = [
                    ((flat - one[..., None]).square() @ share[:, n, :, None])[..., 0]
                    for n, one in enumerate(mean.unbind(1))
                ]
                spread = torch.stack(apart, 1).sqrt()
                parts += [F.normalize(mean, dim=2), F.normalize(spread, dim=2)]
        return torch.cat(parts, 2)


class FrozenDescriber(Describer):
    """By a frozen copy of an encoder, which later training does not change."""

    def __init__(self, encoder: Encoder, name: str) -> None:
        self.encoder, self.name = deepcopy(encoder).requires_grad_(False).eval(), name
        self.source = None if name in (START, OWN) else dict(encoder.source)

    def maps(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C h w"]]:
        """The coarsest scales of the backbone."""
        return [values.float() for values in self.encoder.to(images.device).encode(images)[-_SCALES:]]


class StainDescriber(Describer):
    """By hand: how much of each colour is absorbed, and how much that changes over 2, 4, 8 and 16 px."""

    name = STAIN

    def maps(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C h w"]]:
        """Optical density (base 10) of each channel, and the size of its bands."""
        density = -images.clamp(min=1 / 255).log10()
        found, level = [density], density
        for _ in range(_BANDS):
            half = F.avg_pool2d(F.pad(level, (0, level.shape[-1] % 2, 0, level.shape[-2] % 2), mode="replicate"), 2)
            coarse = F.interpolate(half, size=level.shape[-2:], mode="bilinear", align_corners=False)
            found.append((level - coarse).abs())
            level = half
        return found


def build_describer(spec: str, encoder: Encoder) -> Describer:
    """Who describes the tissue of a run that starts, or has started, with `encoder`.

    - `auto`: the run's own weights at their start where they are pretrained, else those of ImageNet by pip, else
      `stain`.
    - `start`: the run's own weights at their start.
    - `own`: the run's own weights after the warm-up, which the caller waits for.
    - `stain`: optical density and texture, which need no weights.
    - `imagenet`, or a folder or hub id: other pretrained weights.

    **Raises:** `WeightsError` for weights that are not installed or cannot be read, `SettingsError`.
    """
    if spec == AUTO:
        pretrained = encoder.source["weights"] not in {"random", "checkpoint"}
        spec = START if pretrained else PIP if has_pip_weights(BY_PIP) else STAIN
    if spec == START:
        return FrozenDescriber(encoder, START)
    if spec == STAIN:
        return StainDescriber()
    if spec == PIP:
        return FrozenDescriber(build_encoder(BY_PIP, PIP, True, 3, None, "none"), spec)
    try:
        return FrozenDescriber(build_encoder("auto", spec, True, None, None, "none"), spec)
    except SettingsError as error:
        raise SettingsError(f"loss.morphology.encoder: {error}") from error

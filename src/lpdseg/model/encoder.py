"""An image encoder: a backbone, its normalisation, what of it learns, and the scales that everything else sees.

B images, H x W pixels; F_l features at scale l, B x C_l x H_l x W_l. The last scale is the coarsest.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.choices import Tuning
from lpdseg.errors import SettingsError
from lpdseg.maps.pad import pad_to_stride
from lpdseg.model.configuration import check_affordable, plain_configuration, understood
from lpdseg.model.families import kind_of
from lpdseg.model.weights_folder import check_normalisation


class Encoder(nn.Module):
    """A hierarchical encoder that owns its normalisation.

    **Attributes:**

    - `widths`: channels of each scale, finest first.
    - `config`: the architecture as plain values; `Encoder.from_config` builds the same again.
    - `source`: which weights it started from.
    - `tune`: what of the backbone learns, never `auto`. Its adapter, where it has one, always does.

    **Raises:** `SettingsError` where `tune` and `freeze_norm` leave nothing to learn that was asked for.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        widths: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        freeze_norm: bool = False,
        last_stride: int | None = None,
        tune: Tuning = "auto",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.freeze_norm = freeze_norm
        self.last_stride = last_stride
        self.source = {"weights": "random"}
        config: Any = backbone.config
        self.kind = kind_of(config.model_type)
        self.adapter = self.kind.adapter(backbone)
        self.widths = tuple(widths) if self.adapter is None else self.adapter.widths
        if last_stride == 1:
            self.kind.keep_resolution(backbone)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.tune: Tuning = self.kind.tuning if tune == "auto" else tune
        self._choose_what_learns()

    def _choose_what_learns(self) -> None:
        if self.tune != "all":
            self.backbone.requires_grad_(False)
        if self.tune == "last_blocks":
            self.kind.last_blocks(self.backbone).requires_grad_(True)
        if self.tune == "norm":
            if self.freeze_norm:
                raise SettingsError(
                    "model.tune = 'norm' tunes the norm layers that model.freeze_norm = true keeps as they are; "
                    "leave one of the two out"
                )
            for module in self.backbone.modules():
                if _is_norm(module):
                    module.requires_grad_(True)
        if self.freeze_norm:
            for module in _batch_norms(self.backbone):
                module.requires_grad_(False)

    @property
    def frozen(self) -> bool:
        """Whether nothing of the backbone learns, so that `encode` gives the same for an image at every step."""
        return self.tune == "none"

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _C_l _H_l _W_l"]]:
        """RGB in [0, 1] → features of every scale, finest first."""
        return self.finish(self.encode(images), images)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """RGB in [0, 1] → what the backbone alone makes of it; `finish` makes scales of that."""
        features = self.kind.features(self.backbone, self._pixels(images))
        return features if self.adapter is not None else self._shown(features, images)

    def finish(
        self, features: list[Tensor], images: Float[Tensor, "B 3 H W"]
    ) -> list[Float[Tensor, "B _C_l _H_l _W_l"]]:
        """What `encode` made, and the same images where `needs_images` → features of every scale, finest first."""
        if self.adapter is None:
            return features
        return self._shown(self.adapter(features, self._pixels(images)), images)

    @property
    def needs_images(self) -> bool:
        """Whether `finish` looks at the images."""
        return self.adapter is not None

    def _pixels(self, images: Tensor) -> Tensor:
        """Normalised; where the sides must be multiples of the stride, mirrored up to them.

        A graph that is exported takes such sides alone, and has no branch for others.
        """
        if self._ragged(images):
            images = pad_to_stride(images, self.stride)
        return (images - self.mean) / self.std

    def _shown(self, features: list[Tensor], images: Tensor) -> list[Tensor]:
        """Features without those of the mirrored edge alone."""
        if not self._ragged(images):
            return features
        height, width = images.shape[-2:]
        padded = (height + -height % self.stride, width + -width % self.stride)
        return [
            values[..., : -(-height * values.shape[-2] // padded[0]), : -(-width * values.shape[-1] // padded[1])]
            for values in features
        ]

    def _ragged(self, images: Tensor) -> bool:
        """Whether sides have to be padded; never while a graph is made, whose sides are no numbers."""
        sides = images.shape[-2:]
        return self.kind.whole and any(isinstance(side, int) and side % self.stride != 0 for side in sides)

    def train(self, mode: bool = True) -> "Encoder":
        """Training mode; what does not learn stays in evaluation mode, so that no statistics of it change."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        for module in _batch_norms(self.backbone):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    @property
    def stride(self) -> int:
        """Pixels that sides have to be a multiple of to need no padding: those per pixel of the coarsest scale, and
        of plain ViTs those that finer scales divide too.
        """
        return self.kind.stride(self.backbone.config, len(self.widths), self.last_stride)

    @property
    def example(self) -> tuple[int, int]:
        """Sides of an image from which a graph for images of any size can be made."""
        return self.kind.example(self.backbone.config, self.stride)

    @property
    def config(self) -> dict[str, Any]:
        """The architecture as plain JSON values."""
        backbone_config: Any = self.backbone.config
        values: dict[str, Any] = json.loads(backbone_config.to_json_string(use_diff=True))
        return {
            "backbone": values,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "freeze_norm": self.freeze_norm,
            "last_stride": self.last_stride,
            "tune": self.tune,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        """The architecture that `config` describes, with random weights.

        **Raises:** `WeightsError` for a description of which none can be built.
        """
        said = "the description of the encoder"
        with understood(said):
            values = plain_configuration(config["backbone"], said)
            check_normalisation(said, config["mean"], config["std"], None)
            kind = kind_of(values["model_type"])
            backbone_config = kind.configuration(values.pop("model_type"), values)
            if torch.get_default_device().type != "meta":  # where somebody looks at more than the encoder
                check_affordable(lambda: kind.network(backbone_config)(deepcopy(backbone_config)), said)
            backbone = kind.network(backbone_config)(backbone_config)
            encoder = cls(
                backbone,
                kind.widths(backbone),
                config["mean"],
                config["std"],
                config["freeze_norm"],
                config["last_stride"],
                config.get("tune", "all"),
            )
        encoder.source = {"weights": "checkpoint"}
        return encoder


def _is_norm(module: nn.Module) -> bool:
    """Libraries have classes of their own for these layers, which share no base."""
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]

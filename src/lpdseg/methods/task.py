"""What the loop knows of a method: a batch in, the loss and its parts out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import SettingsError
from lpdseg.losses.term import Term
from lpdseg.maps.pad import STRIDE, pad_to_stride
from lpdseg.model.image_encoders import ImageEncoder
from lpdseg.model.network import Network


class Task(nn.Module, ABC):
    """A network and what is minimised to train it.

    **Attributes:**

    - `model`: the network that predicts.
    - `image_encoder`: a frozen judge that is not saved with the run, or None.
    - `stages`: the shares of the steps at which a stage begins, and with it a new schedule of the learning rate.
      `model` is trained in the last stage, and so it is validated there alone.
    """

    model: Network
    image_encoder: ImageEncoder | None
    stages: tuple[float, ...] = (0.0,)

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model
        self.image_encoder = None

    @abstractmethod
    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """`image` (uint8), `labels`, and `mask` where the method needs it → `loss` and its parts, unweighted.

        `done` is the share of the training's steps that lie behind, in [0, 1).
        """

    def prepare(self, patches: TrainingPatches) -> None:
        """Called once, before the first step of a run that starts; what it finds belongs into saved buffers."""

    def after_step(self, step: int) -> None:
        """Called once the optimiser has made step `step` (from 1)."""

    def trained_state(self) -> dict[str, Tensor]:
        """Parameters and buffers to save: all but those of a frozen image encoder."""
        state: dict[str, Any] = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("image_encoder.")}


def as_pixels(images: Tensor) -> Float[Tensor, "B 3 h w"]:
    """uint8 RGB → [0, 1]; images below the largest stride are mirrored up to it.

    Larger ones stay as they are: a mirrored edge would be pooled into the image-level logits too.
    """
    pixels = images.float() / 255
    return pad_to_stride(pixels) if min(pixels.shape[-2:]) < STRIDE else pixels


def check_scales(weights: Sequence[float], scales: int) -> None:
    """`loss.scale_weights` must have a number for each scale of the encoder.

    **Raises:** `SettingsError`.
    """
    if len(weights) != scales:
        raise SettingsError(f"loss.scale_weights has {len(weights)} numbers, the encoder {scales} scales")


def global_mean(term: Term) -> Float[Tensor, ""]:
    """The mean over the batch of all processes, so scaled that averaging gradients over processes is exact."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return term.mean
    count = term.count.clone()
    torch.distributed.all_reduce(count)
    return term.total * torch.distributed.get_world_size() / count.clamp(min=1)

"""What the loop knows of a method: a batch in, the loss and its parts out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import CheckpointError, SettingsError, TrainingError
from lpdseg.losses.chunks import Chunk
from lpdseg.losses.objective import Objective, Seen
from lpdseg.methods.earlier import Earlier
from lpdseg.model.image_encoders import ImageEncoder
from lpdseg.model.network import Network


class Task(nn.Module, ABC):
    """A network and what is minimised to train it.

    **Attributes:**

    - `model`: the network that predicts.
    - `objectives`: whose weighted sum is minimised.
    - `image_encoder`: a frozen one that a contrast compares with and that is not saved with the run, or None.
    - `stages`: the shares of the steps at which a stage begins, and with it a new schedule of the learning rate.
      `model` is trained in the last stage, and so it is validated there alone.
    """

    model: Network
    objectives: tuple[Objective, ...]
    image_encoder: ImageEncoder | None
    stages: tuple[float, ...] = (0.0,)

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model
        self.image_encoder = None

    def forward(self, batch: dict[str, Tensor], done: float) -> dict[str, Tensor]:
        """`image` (uint8), `labels`, and `mask` where the method needs it → `loss` and its parts, unweighted.

        `done` is the share of the training's steps that lie behind, in [0, 1).
        """
        active = [one for one in self.objectives if one.counts(done)]
        seen = self.look(batch, done, active)
        loss: Tensor | float = 0.0
        parts: dict[str, Tensor] = {}
        for one in active:
            minimised, shown = one(seen)
            loss = loss + one.weight * minimised
            parts |= shown
        assert isinstance(loss, Tensor), "something is minimised at every step"
        return {"loss": loss, **parts}

    @abstractmethod
    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        """The one pass through the network that the active objectives share."""

    @property
    def reads_pixels(self) -> bool:
        """Whether an objective looks at images themselves, and not at their features alone."""
        return any(one.pixels for one in self.objectives if one.weight > 0)

    def titles(self) -> dict[str, str]:
        """Every figure that `forward` may report, and what a chart of it is called, in the order to show them."""
        return {name: title for one in self.objectives for name, title in one.titles.items()}

    def prepare(self, patches: TrainingPatches, fresh: bool = True) -> None:
        """Called once, before the first step; what it finds belongs into saved buffers.

        `fresh` says that a run starts: one that goes on has found everything, but for what is found later.
        """

    def found(self) -> dict[str, Any]:
        """What `prepare` found, as plain values for the run's record."""
        return {}

    def take_up(self, earlier: Earlier, patches: TrainingPatches) -> bool:
        """Called once, before the first step of a run that goes on from another one's weights.

        All of the network is taken over, and of the rest what fits. Returns whether that leaves `prepare` nothing
        to find.

        **Raises:** `CheckpointError` where the network is another.
        """
        del patches
        own = self.trained_state()
        held = {name: value for name, value in earlier.weights.items() if name in own}
        odd = next((name for name in own if name.startswith("model.") and not same_shape(held, own, name)), None)
        odd = odd or next((name for name in earlier.weights if name.startswith("model.") and name not in own), None)
        if odd is not None:
            raise CheckpointError(
                f"the network of {earlier.run} is another ({odd} differs); go on with its own settings of the model"
            )
        fitting = {name: value for name, value in held.items() if same_shape(held, own, name)}
        self.load_state_dict(fitting, strict=False)
        return len(fitting) == len(own)

    @property
    def chunk(self) -> Chunk | None:
        """How many pairs its contrast encodes at once; None where it has none."""
        return next((one.chunk for one in self.objectives if one.weight > 0 and one.chunk is not None), None)

    def learn_corrections(self) -> None:
        """Called once, before the first step of a run that learns from pixels that an expert has corrected.

        **Raises:** `SettingsError` where nothing learns from single pixels.
        """
        raise SettingsError(
            "corrected pixels teach the segmentation head of method lpd, which this run does not have; correct "
            "labels alone, or train a run with a head (loss.composite.weight above 0) first"
        )

    def after_step(self, step: int) -> None:
        """Called once the optimiser has made step `step` (from 1)."""

    def trained_state(self) -> dict[str, Tensor]:
        """Parameters and buffers to save: all but those of a frozen image encoder.

        **Raises:** `TrainingError` where one is no number, as the last update may leave it after losses that were.
        """
        state: dict[str, Any] = self.state_dict()
        found = {name: value for name, value in state.items() if not name.startswith("image_encoder.")}
        odd = next((name for name, value in found.items() if not value.isfinite().all()), None)
        if odd is not None:
            raise TrainingError(
                f"the parameters {odd} are not numbers any more; training stopped and the last checkpoint is kept: "
                "lower train.lr, or use --set train.precision=32-true"
            )
        return found


def same_shape(held: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> bool:
    """Whether both have a tensor of that name, and of one shape."""
    return name in held and held[name].shape == own[name].shape


def check_scales(weights: Sequence[float], scales: int) -> None:
    """`loss.scale_weights` must have a number for each scale of the encoder.

    **Raises:** `SettingsError`.
    """
    if len(weights) != scales:
        raise SettingsError(f"loss.scale_weights has {len(weights)} numbers, the encoder {scales} scales")

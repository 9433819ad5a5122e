"""When the morphologies of a run are looked for, and by whom.

In single-class patches before the first step; in the regions of all, anew, once the dense map knows classes.
Nothing is looked at in between, and nothing comes to life after that.
"""

from collections.abc import Callable
from typing import Any

from lpdseg.data.dataset import TrainingPatches
from lpdseg.methods.morphology import Look, find_morphologies
from lpdseg.model.describing import OWN, Describer, FrozenDescriber, build_describer
from lpdseg.model.encoder import Encoder
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Morphologies
from lpdseg.sections import MorphologySettings

_EVERYWHERE = 0.15
"""Share of the steps."""


class Looks:
    """Finds morphologies at the steps at which a run looks for them; how often it has is saved with the run.

    **Arguments:**

    - `warmup`: the share of the steps after which the run's own encoder can describe.
    - `glass`: whether background is glass, which is no tissue.
    - `start`: builds the encoder as it is before the first step, where the model's comes from a checkpoint.
    """

    def __init__(
        self,
        morphologies: Morphologies,
        model: LPD,
        settings: MorphologySettings,
        warmup: float,
        glass: bool,
        start: Callable[[], Encoder] | None,
    ) -> None:
        self.morphologies, self.model, self.settings = morphologies, model, settings
        self.glass, self.start = glass, start
        self.patches: TrainingPatches | None = None
        self.describer: Describer | None = None
        self.by: dict[str, Any] = {}
        self.plan: tuple[tuple[float, Look], ...] = ((0.0, "alone"), (_EVERYWHERE, "everywhere"))
        if settings.encoder == OWN:
            self.plan = ((warmup, "everywhere"),)
        if settings.fit == "kmeans":
            self.plan = ((self.plan[0][0], "alone"),)

    def prepare(self, patches: TrainingPatches) -> None:
        """The patches to look at, at once and later.

        **Raises:** `WeightsError`, `SettingsError` for descriptions that cannot be had.
        """
        self.patches = patches
        if self._left and self.settings.encoder != OWN:
            encoder = self.model.encoder
            if self.start is not None and encoder.source["weights"] == "checkpoint":
                encoder = self.start()  # what has been trained is no witness
            self.describer = build_describer(self.settings.encoder, encoder)
        self.look(0.0)

    def look(self, done: float) -> None:
        """Looks, where it is time to."""
        if self.patches is None or not self._left or done < self._left[0][0]:
            return
        describer = self.describer or FrozenDescriber(self.model.encoder, OWN)
        find_morphologies(
            self.morphologies, self.model, self.patches, describer, self.glass, self.settings.fit, self._left[0][1]
        )
        self.by = {"encoder": describer.name}
        if describer.source is not None:
            self.by["weights"] = describer.source
        if not self._left:
            self.describer = self.patches = None

    def close(self) -> None:
        """What was found in an earlier run stays as it is."""
        self.morphologies.found_times(len(self.plan))

    @property
    def _left(self) -> tuple[tuple[float, Look], ...]:
        return self.plan[self.morphologies.times :]

    def found(self) -> dict[str, Any]:
        """Who described the training patches, where that is known, and how many morphologies each class has."""
        if not self.morphologies.fitted:
            return {}
        return {"morphologies": self.by | {"components": list(self.morphologies.components)}}

"""Where model and losses meet: a batch in, the loss and its parts out. The loop knows nothing of the method.

B images, C classes, K prototypes in all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from lpdseg.choices import ImageMerge
from lpdseg.data.composites import alone
from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import SettingsError
from lpdseg.losses.classification import Classification
from lpdseg.losses.composite import Composite, look_at
from lpdseg.losses.contrast import Contrast
from lpdseg.losses.correction import Correction
from lpdseg.losses.diversity import Diversity
from lpdseg.losses.morphology import Morphology
from lpdseg.losses.objective import Objective, Seen
from lpdseg.maps.pad import as_pixels
from lpdseg.methods.earlier import Earlier, edit_prototypes, edit_shares
from lpdseg.methods.looks import Looks
from lpdseg.methods.task import Task, check_scales
from lpdseg.methods.teacher import PseudoMasks, Teacher
from lpdseg.model.encoded import features_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import PrototypeHead
from lpdseg.model.image_encoders import ImageEncoder, SelfEncoder
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import DIMENSIONS, Morphologies
from lpdseg.model.prototypes import Projection
from lpdseg.sections import LossSettings, PredictSettings


class LpdTask(Task):
    """The objective of method §2.

    **Attributes:**

    - `model`: the network, an `LPD`.

    **Arguments:**

    - `merge`: prototypes → class in the classification loss.
    - `image_encoder`: of the contrast, or None for none.
    - `background_power`: of the pseudo mask; None where every pixel belongs to a class.
    - `hidden`: width inside the projection to the image encoder's space.
    - `predict`: how class maps become pseudo masks, and whether background is glass; needed where there is a
      segmentation head.
    - `start`: builds the encoder as it was before the first step, for a training that goes on.

    **Raises:** `SettingsError` for loss weights that do not fit the encoder, or a contrast of a single class.
    """

    model: LPD

    def __init__(
        self,
        model: LPD,
        settings: LossSettings,
        merge: ImageMerge,
        image_encoder: ImageEncoder | None,
        background_power: float | None,
        hidden: int,
        predict: PredictSettings | None = None,
        start: Callable[[], Encoder] | None = None,
    ) -> None:
        super().__init__(model)
        check_settings(model, settings, image_encoder)
        self.settings, self.merge, self.power = settings, merge, background_power
        # What objectives need and what is saved, or moved to a device, with the task hangs on the task itself.
        self.image_encoder = image_encoder if settings.contrast.weight > 0 else None
        self.contrast_head: Projection | None = None
        # The own encoder lives in the space of the last scale, to which prototypes are projected in any case.
        if self.image_encoder is not None and not isinstance(self.image_encoder, SelfEncoder):
            self.contrast_head = Projection(model.bank.weight.shape[1], hidden, self.image_encoder.width)
        self.teacher: Teacher | None = None
        if model.head is not None and predict is not None and settings.pseudo.weight > 0:
            self.teacher = Teacher(model, settings.pseudo, predict)
        self.glass = predict is not None and predict.background == "glass"
        self.morphologies: Morphologies | None = None
        self.told: Projection | None = None
        self.looks: Looks | None = None
        taught = settings.morphology.weight > 0 and settings.composite.weight > 0
        if taught and isinstance(model.head, PrototypeHead):
            self.morphologies = Morphologies(model.bank.counts)
            self.told = Projection(model.bank.weight.shape[1], hidden, DIMENSIONS)
            self.looks = Looks(self.morphologies, model, settings.morphology, settings.warmup, self.glass, start)
        self.objectives = self.named_objectives()

    def named_objectives(self) -> tuple[Objective, ...]:
        """All that may be minimised; a new loss is a file that defines it, its settings, and its name here.

        Contrast and diversity wait until the maps have learnt to tell classes apart: the first would cut out
        anything, and the second would push apart what does not yet mean anything. Composites teach at once, for
        their masks hang on no map.
        """
        model, settings = self.model, self.settings
        return (
            Classification(scales_of(settings.scale_weights)),
            Contrast(model, settings.contrast, self.image_encoder, self.contrast_head, settings.warmup),
            Diversity(model, settings.diversity, settings.warmup, self.power, settings.composite.weight > 0),
            Composite(model, settings.composite.weight),
            *self._morphology(),
            PseudoMasks(model, settings.pseudo, self.teacher),
        )

    def learn_corrections(self) -> None:
        """See `Task.learn_corrections`."""
        if self.model.head is None:
            super().learn_corrections()
        self.objectives = (*self.objectives, Correction(self.model, self.settings.correction.weight))

    def _morphology(self) -> tuple[Objective, ...]:
        if self.morphologies is None:
            return ()
        assert self.told is not None
        return (Morphology(self.model, self.settings.morphology.weight, self.morphologies, self.told),)

    def prepare(self, patches: TrainingPatches, fresh: bool = True) -> None:
        """See `Task.prepare`: finds the morphologies of each class.

        **Raises:** `WeightsError`, `SettingsError` for descriptions that cannot be had.
        """
        del fresh  # how often it has looked is part of what is saved
        if self.looks is not None:
            self.looks.prepare(patches)

    def found(self) -> dict[str, Any]:
        """See `Task.found`."""
        return {} if self.looks is None else self.looks.found()

    def take_up(self, earlier: Earlier, patches: TrainingPatches) -> bool:
        """See `Task.take_up`; edits of prototypes become part of the network.

        Morphologies are those of the earlier run where its patches are known: component j keeps its number.
        """
        super().take_up(earlier, patches)
        mixture = {
            name.removeprefix("morphologies."): value
            for name, value in earlier.weights.items()
            if name.startswith("morphologies.")
        }
        known = self.morphologies is None or mixture.keys() == self.morphologies.state_dict().keys()
        if self.morphologies is not None and (earlier.patches is None or not known):
            self.morphologies.found_times(0)
            return False
        if self.looks is not None and self.morphologies is not None:
            self.morphologies.load_state_dict(mixture)
            self.looks.close()
        edit_prototypes(self.model, self.morphologies, earlier)
        if self.morphologies is not None:
            shown = {index: c for c, found in alone(patches.records).items() for index in found}
            classes = [shown.get(index, -1) for index in range(len(patches))]
            edit_shares(self.morphologies, self.model, earlier, classes)
        return True

    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        """See `Task.look`. Prototypes are compared only at the scales that something reads."""
        if self.looks is not None:
            self.looks.look(done)
        images = as_pixels(batch["image"])
        features = features_of(self.model.encoder, batch, "image")
        outputs = self.model.compare(features, {level for one in active for level in one.levels})
        logits = {
            level: self.model.image_logits(outputs[level].maps, self.merge)
            for level in scales_of(self.settings.scale_weights)
        }
        composite, mask = None, None
        if any(one.composites for one in active):
            composite, mask = look_at("composite", self.model, batch, self.glass)
        seen = Seen(batch, images, batch["labels"], done, logits, features, outputs)
        seen = replace(seen, composite=composite, composite_mask=mask)
        if any(one.corrections for one in active):
            corrected, mask = look_at("corrected", self.model, batch, self.glass)
            seen = replace(seen, corrected=corrected, corrected_mask=mask)
        return seen

    def after_step(self, step: int) -> None:
        """Lets the teacher follow."""
        if self.teacher is not None:
            self.teacher.follow(self.model, step)


def scales_of(weights: Sequence[float]) -> dict[int, float]:
    """Scales that have a weight, with it."""
    return {level: weight for level, weight in enumerate(weights) if weight > 0}


def check_settings(model: LPD, settings: LossSettings, image_encoder: ImageEncoder | None) -> None:
    """What can be trained with this network.

    **Raises:** `SettingsError`.
    """
    check_scales(settings.scale_weights, model.scales)
    # Negatives are prototypes of other classes, and those of one class have none.
    if settings.contrast.weight > 0 and image_encoder is not None and len(model.bank.counts) < 2:
        raise SettingsError("the contrast needs at least two classes; set loss.contrast.weight=0")
    width, channels = model.bank.weight.shape[1], model.encoder.widths[-1]
    if settings.diversity.weight > 0 and settings.diversity.space == "raw" and width != channels:
        raise SettingsError(
            f"loss.diversity.space = 'raw' compares prototypes with features of {channels} channels as they are; "
            f"set model.prototype_dim={channels}"
        )

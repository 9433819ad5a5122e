"""LPD with the losses of its published code (Le et al., arXiv 2512.05922), to see the effect of each repair.

The diversity, the negatives and the soft mask of the contrast are as released; see `lpdseg.losses.released`. What
surrounds them is ours: images are RGB, weights are real, and masks are gated by predicted labels. The merge in
training is that of the settings; as published it is `model.merge=mean`, as in the preset `paper`.
"""

from lpdseg.errors import SettingsError
from lpdseg.losses.classification import Classification
from lpdseg.losses.objective import Objective
from lpdseg.losses.released import ReleasedContrast, ReleasedDiversity
from lpdseg.methods.lpd import prototype_network
from lpdseg.methods.lpd_task import LpdTask, scales_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.lpd import LPD
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


class ReleasedTask(LpdTask):
    """The objective of method §2 as released.

    Of the settings, `loss.contrast.negatives`, `loss.contrast.fill`, `loss.diversity` but for its weight,
    `loss.composite` and `loss.pseudo` are not used.
    """

    def named_objectives(self) -> tuple[Objective, ...]:
        """See `LpdTask.named_objectives`."""
        model, settings = self.model, self.settings
        return (
            Classification(scales_of(settings.scale_weights)),
            ReleasedContrast(model, settings.contrast, self.image_encoder, self.contrast_head, settings.warmup),
            ReleasedDiversity(model, settings.diversity, settings.warmup, self.power),
        )


def network(encoder: Encoder, settings: Settings, classes: int) -> LPD:
    """LPD without a segmentation head.

    **Raises:** `SettingsError` where prototypes cannot be compared with features as they are.
    """
    width = encoder.widths[-1]
    if settings.loss.diversity.weight > 0 and settings.model.prototype_dim != width:
        raise SettingsError(
            f"the released diversity loss compares prototypes with features of {width} channels as they are; set "
            f"model.prototype_dim={width}"
        )
    return prototype_network(encoder, settings, classes, 0)


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> ReleasedTask:
    """LPD and the objective as released.

    **Raises:** `SettingsError`, `WeightsError`.
    """
    contrast = settings.loss.contrast
    model = network(encoder, settings, len(classes))
    image_encoder = build_image_encoder(contrast.encoder, encoder) if contrast.weight > 0 else None
    power = None if classes.background is None else settings.predict.background_power
    return ReleasedTask(model, settings.loss, settings.model.merge, image_encoder, power, settings.model.hidden_dim)

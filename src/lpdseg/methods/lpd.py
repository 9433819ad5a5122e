"""LPD from settings."""

from functools import partial

import torch

from lpdseg.errors import SettingsError
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import first_encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.lpd import LPD
from lpdseg.sections import ModelSettings
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


def network(encoder: Encoder, settings: Settings, classes: int) -> LPD:
    """LPD around an encoder, with fresh prototypes, and a segmentation head where one is taught.

    **Raises:** `SettingsError` where the settings name prototypes for another number of classes.
    """
    return prototype_network(
        encoder, settings, classes, settings.model.head_width if settings.loss.teaches_head else 0
    )


def prototype_network(encoder: Encoder, settings: Settings, classes: int, head: int) -> LPD:
    """LPD with a head of the given width, or none for 0."""
    wanted = settings.model
    counts = prototype_counts(wanted, classes)
    return LPD(
        encoder,
        counts,
        wanted.prototype_dim,
        wanted.hidden_dim,
        wanted.temperature,
        head,
        wanted.head,
        wanted.head_merge,
    )


def task(encoder: Encoder, settings: Settings, classes: TissueClasses) -> LpdTask:
    """The objective of method §2, with the segmentation head's.

    **Raises:** `SettingsError`, `WeightsError`.
    """
    contrast = settings.loss.contrast
    model = network(encoder, settings, len(classes))
    image_encoder = build_image_encoder(contrast.encoder, encoder) if contrast.weight > 0 else None
    power = None if classes.background is None else settings.predict.background_power
    return LpdTask(
        model,
        settings.loss,
        settings.model.merge,
        image_encoder,
        power,
        settings.model.hidden_dim,
        settings.predict,
        partial(_start, settings),
    )


def prototype_counts(settings: ModelSettings, classes: int) -> tuple[int, ...]:
    """k per class, one number for each class.

    **Raises:** `SettingsError` where the settings name another number of classes.
    """
    counts = settings.prototypes
    if isinstance(counts, int):
        return (counts,) * classes
    if len(counts) != classes:
        raise SettingsError(
            f"model.prototypes gives numbers for {len(counts)} classes but the data has {classes}; "
            "give one number, or one per class"
        )
    return counts


def _start(settings: Settings) -> Encoder:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.train.seed)
        return first_encoder(settings.model)

"""What a run is trained with and on: a preset, what a person said beside it, and what the data tell."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import has_checkpoint, read_state
from lpdseg.data.dataset import steps_per_epoch
from lpdseg.data.mask_values import declare_values
from lpdseg.data.opening import open_data
from lpdseg.data.records import Manifest
from lpdseg.settings import Settings, load_settings, parse_settings
from lpdseg.tissue import tissue_classes


def changed_settings(
    preset: str | Path | Settings | None, overrides: Iterable[str], changes: dict[str, dict[str, Any]]
) -> Settings:
    """Preset, then overrides, then those of `changes` that are not None."""
    values = load_settings(preset, overrides).model_dump()
    for section, entries in changes.items():
        values[section] |= {name: value for name, value in entries.items() if value is not None}
    return parse_settings(values, source="the options")


def settings_before(resumed: Path | None, start: str | Path | None) -> str | Path | Settings | None:
    """The settings of a run that is resumed, else of the one that it starts from; None for neither.

    **Raises:** `CheckpointError`, `SettingsError` where they cannot be read.
    """
    if resumed is not None and not has_checkpoint(resumed, "last"):
        return resumed / "settings.yaml"
    folder, name = (resumed, "last") if resumed is not None else (start, "best")
    if folder is None:
        return None
    return parse_settings(read_state(Path(folder), name)["settings"], str(folder))  # knows what a setting was once


FEW = 200
"""Steps in which corrections are learnt from a run's weights."""

GENTLY = 0.25
"""The learning rate then, of the one that the run was trained with."""


def in_few_steps(
    settings: Settings, patches: int, overrides: Iterable[str], epochs: float | None = None
) -> Settings:
    """Settings of a run in those of one that learns corrections from its weights.

    What a person has asked for, by `overrides` or `epochs`, stays as it is.
    """
    asked = {text.partition("=")[0].strip() for text in overrides}
    train, changes = settings.train, dict[str, Any]()
    if "train.epochs" not in asked and epochs is None:
        changes["epochs"] = min(train.epochs, FEW / steps_per_epoch(patches, train.batch))
    if "train.lr" not in asked:
        changes["lr"] = train.lr * GENTLY
    return changed_settings(settings, (), {"train": changes})


def training_data(settings: Settings, data: str | Path | Manifest, chosen: bool) -> tuple[Settings, Manifest]:
    """The data set to train on; `chosen` says whether a person chose the settings' classes, or they are a preset's.

    Where those are not what counts in the end, see `open_data`, the settings leave the classes to the data.
    """
    named, values = settings.data.classes, settings.data.mask_values
    presumed = None if chosen or named is None else tissue_classes(named)
    manifest = open_data(data, chosen=named if chosen else None, presumed=presumed, mask_values=values)
    if named is None or manifest.classes == declare_values(tissue_classes(named), values):
        return settings, manifest
    return settings.model_copy(update={"data": settings.data.model_copy(update={"classes": None})}), manifest

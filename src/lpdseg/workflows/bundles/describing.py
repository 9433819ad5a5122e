"""What a bundle says of itself: all that prediction needs, and what whoever gets it should know.

What is private stays behind: places on this machine, names of patients, of files and of the data set's folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import read_state
from lpdseg.insight.licences import Licensed, of_code, of_run
from lpdseg.insight.run_record import read_run
from lpdseg.model.catalogue import known
from lpdseg.model.describing import WORDS
from lpdseg.model.pip_weights import AUTO, PIP
from lpdseg.model.pretrained import UNNAMED
from lpdseg.segmenting.edits import Edits, as_record
from lpdseg.segmenting.loading import weights_digest
from lpdseg.sharing.folder import SCHEMA
from lpdseg.version import __version__

_STATE = (
    "step", "steps", "seconds", "best", "classes", "mpp", "patch", "thresholds", "offsets", "temperature", "data",
)  # fmt: skip
"""Of a checkpoint's state, as it is."""

_TRAINING = (
    "status", "started", "seed", "step", "steps", "seconds", "parameters", "precision", "processes", "versions",
    "losses", "valid_miou",
)  # fmt: skip
"""Of a run's record, as it is."""

_HARDWARE = ("device", "gpu", "cores")

_FIGURES = (
    "split", "gate", "background", "refine", "edits", "offsets_data", "offsets", "images", "patients", "unit",
    "classes_in_mean", "miou", "mdice", "fwiou", "pixel_accuracy", "classes", "background_class", "image_level",
    "interval", "confusion", "reliability",
)  # fmt: skip
"""Of a record of figures; notes and the figures of each patient have names in them."""


def describe(
    run: Path,
    checkpoint: str,
    *,
    title: str,
    about: str,
    licence: str,
    edits: Edits | None,
    records: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of a bundle's description, see `lpdseg.workflows.bundles.making.make_bundle`.

    **Raises:** `CheckpointError` where the run cannot be read.
    """
    state, told = read_state(run, checkpoint), read_run(run)
    learnt = state.get("corrected")
    sources = {one["weights"]: one for one in _recorded_weights(told)}
    return {
        "schema": SCHEMA,
        "lpdseg": __version__,
        "title": title,
        "about": about,
        "purpose": "For research only, not for diagnosis.",
        "licence": licence,
        "licences": {
            "started_from": [_as_dict(entry, sources) for entry in of_run(run)],
            "code": [_as_dict(entry, {}) for entry in of_code()],
        },
        "checkpoint": checkpoint,
        "run_weights_sha256": weights_digest(run, checkpoint),
        **{key: state.get(key) for key in _STATE},
        "encoder": _without_places(state["encoder"]),
        "settings": _public(state["settings"], sources),
        "edits": None if edits is None else as_record(edits),
        "corrected": None if learnt is None else {"images": learnt["images"], "patients": {}},
        "valid": None if state["valid"] is None else figures(state["valid"]),
        "metrics": [figures(record) for record in records],
        "training_data": _data_card(told.get("data", {})),
        "training": {"step": state["step"]}  # which a run that has not ended does not say
        | {key: told[key] for key in _TRAINING if key in told}
        | {"hardware": {key: told["hardware"][key] for key in _HARDWARE if key in told.get("hardware", {})}},
        "graph": None,
    }


def figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without names of patients."""
    return {key: record.get(key) for key in _FIGURES}


def non_commercial(described: Mapping[str, Any]) -> list[str]:
    """Sources of non-commercial weights that a bundle's started from."""
    started = [Licensed(**one) for one in described["licences"]["started_from"]]
    return [one.source for one in started if one.concern == "non-commercial"]


def _data_card(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data.get(key) for key in ("fingerprint", "patches", "patients", "patients_known", "mpp")}


def _as_dict(entry: Licensed, sources: Mapping[str, Any]) -> dict[str, str]:
    """A licence; `sources` is what the run's record says of weights, by how they were named."""
    source = entry.source
    if ", made from " in source:
        source = f"hub: {source.rpartition(', made from ')[2]}"
    elif not source.startswith(("-", "code", "hub: ", "pip: ")):
        source = _name_of(source, sources.get(source))
    return {"what": entry.what, "licence": entry.licence, "source": source}


def _public(settings: dict[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which weights are named by their hub id, or not at all."""
    model, contrast = dict(settings["model"]), dict(settings["loss"]["contrast"])
    morphology = dict(settings["loss"].get("morphology", {}))
    if model["weights"] is not None:
        model["weights"] = _name_of(model["weights"], sources.get(model["weights"]))
    kind, colon, source = contrast["encoder"].partition(":")
    if colon:
        contrast["encoder"] = f"{kind}:{_name_of(source, sources.get(source))}"
    if (describer := morphology.get("encoder", AUTO)) not in WORDS:
        morphology["encoder"] = _name_of(describer, sources.get(describer))
    taught = {"morphology": morphology} if morphology else {}
    return {**settings, "model": model, "loss": {**settings["loss"], "contrast": contrast, **taught}}


def _recorded_weights(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a run's record says of the weights that it has used."""
    morphologies = told.get("morphologies") or {}
    for one in (told.get("weights"), told.get("image_encoder"), morphologies.get("weights")):
        if one and "weights" in one:
            yield one


def _name_of(weights: str, record: Mapping[str, Any] | None) -> str:
    """What weights are called elsewhere; those that came from the hub have a revision in their record."""
    record, listed = record or {}, known(weights)
    if weights == PIP or "revision" in record:
        return weights
    return str(record.get("of", UNNAMED)) if listed is None else listed.entry.hub_id


def _without_places(encoder: dict[str, Any]) -> dict[str, Any]:
    """An encoder's description; libraries note where the weights lay."""
    backbone = {
        key: value for key, value in encoder["backbone"].items() if key not in ("_name_or_path", "name_or_path")
    }
    return {**encoder, "backbone": backbone}

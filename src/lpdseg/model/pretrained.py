"""Loading published weights into a backbone, with an error instead of silence where they do not fit."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from lpdseg.errors import WeightsError
from lpdseg.model.encoder_kinds import Kind
from lpdseg.model.weights_folder import check_normalisation, check_weights_folder
from lpdseg.quiet import library

# Layers that a backbone adds on top of the published network and that start as the identity.
_ADDED_BY_BACKBONE = ("hidden_states_norms",)

_PROCESSOR = "preprocessor_config.json"


def load_backbone(
    kind: Kind,
    backbone_class: Any,
    weights: str,
    model_type: str,
    expected: dict[str, Any],
    last_stride: int | None,
    stages: int | None,
    label: str,
    hub_id: str,
) -> nn.Module:
    """Weights of a folder or hub id → a backbone with all its stages as outputs.

    **Arguments:**

    - `expected`: what the weights' configuration must say; lists may be cut short (fewer stages).
    - `last_stride`: of the last stage that is kept, where the configuration has strides; it changes no weight's
      shape. None takes what is usual.
    - `stages`: how many of the first stages to keep; None keeps all.
    - `label`: the table's name of the architecture, and `hub_id` where its weights are published, for messages.

    **Raises:** `WeightsError` where nothing is found, the architecture is another, or parameters are missing.
    """
    check_weights_folder(weights, hub_id)
    config = _read_config(weights, label)
    if config.model_type != model_type:
        raise WeightsError(
            f"{weights} holds weights of a {config.model_type!r} network, but the encoder {label!r} is a "
            f"{model_type!r}; choose the encoder that fits the weights"
        )
    for key, value in expected.items():
        found = getattr(config, key, None)
        fits = found == value or (isinstance(value, list) and found and list(found) == value[: len(found)])
        if not fits:
            raise WeightsError(
                f"{weights} has {key} = {found}, but the encoder {label!r} has {value}; "
                "choose the encoder that fits the weights"
            )
    if stages is not None and len(config.depths) < stages:
        raise WeightsError(f"{weights} has {len(config.depths)} stages, but model.stages asks for {stages}")
    backbone, info = _load(backbone_class, weights, kind.cut(config, stages, last_stride))
    missing = {key for key in info["missing_keys"] if not key.startswith(_ADDED_BY_BACKBONE)}
    lacking = sorted(missing | {key for key, *_ in info["mismatched_keys"]})
    if lacking:
        raise WeightsError(
            f"{weights} lacks {len(lacking)} parameters of the encoder {label!r} (the first is {lacking[0]}); "
            "it is incomplete or of another architecture"
        )
    odd = next((name for name, values in backbone.state_dict().items() if not values.isfinite().all()), None)
    if odd is not None:
        raise WeightsError(f"{weights} holds values that are no numbers (NaN or infinite) in {odd}; get it again")
    return backbone


def read_normalisation(
    weights: str, mean: tuple[float, ...], std: tuple[float, ...], published: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and sd that weights expect of RGB in [0, 1]: of their `preprocessor_config.json`, else those given.

    `published` says that those given are known to be the weights' own, so that the file need not be had.

    **Raises:** `WeightsError` for a file that cannot be fetched, cannot be read or holds other than three numbers
    each that can be of RGB in [0, 1].
    """
    path: Path | None = Path(weights) / _PROCESSOR
    if not Path(weights).exists():
        try:
            path = _fetch_processor(weights)
        except (OSError, ValueError) as error:
            if published:
                return mean, std
            raise WeightsError(
                f"cannot tell which mean and sd {weights!r} expects, for the hub did not give its {_PROCESSOR} "
                f"({first_line(error)}); go online once, or put {_PROCESSOR} and the weights into a local folder "
                "and name that"
            ) from error
    if path is None or not path.is_file():
        return mean, std
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        mean, std = (
            tuple(float(number) for number in values.get(key, default))
            for key, default in (("image_mean", mean), ("image_std", std))
        )
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise WeightsError(f"{path} is not the JSON of an image processor: {first_line(error)}") from error
    check_normalisation(path, mean, std, values.get("rescale_factor"))
    return mean, std


def _fetch_processor(weights: str) -> Path | None:
    """The file from the hub or its cache; None where the repository is known not to have it."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(weights, _PROCESSOR))
    except EntryNotFoundError as error:
        offline = isinstance(error, LocalEntryNotFoundError)
        # The cache remembers which files the hub did not have when it was last asked.
        if offline and try_to_load_from_cache(weights, _PROCESSOR) is not _CACHED_NO_EXIST:
            raise
        return None


def _read_config(weights: str, label: str) -> Any:
    transformers = library("transformers")

    try:
        return transformers.AutoConfig.from_pretrained(weights)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise WeightsError(
            f"cannot get weights {weights!r} for the encoder {label!r}: neither a local folder with a config.json "
            f"nor a model that the hub gave us ({first_line(error)})"
        ) from error


def _load(backbone_class: Any, weights: str, config: Any) -> tuple[nn.Module, dict[str, Any]]:
    try:
        with quiet_loading():
            backbone, info = backbone_class.from_pretrained(
                weights,
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,  # whatever the file holds: autocast decides where halves are used
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise WeightsError(f"cannot load weights from {weights!r}: {first_line(error)}") from error
    return backbone, info


@contextmanager
def quiet_loading() -> Iterator[None]:
    """The library would warn of parameters that do not fit, which its callers say in one sentence instead."""
    transformers = library("transformers")
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)


def weights_source(weights: str) -> dict[str, str]:
    """Which weights these are, once they are loaded: the SHA-256 of a local folder's safetensors files, one after
    another in the order of their names, or the hub's revision.
    """
    folder = Path(weights)
    if not folder.exists():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(weights, "config.json")  # snapshots/REVISION/config.json
        return {"weights": weights} | ({"revision": Path(config).parent.name} if isinstance(config, str) else {})
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return {"weights": weights, "sha256": digest.hexdigest()}


def first_line(error: Exception) -> str:
    """The first line of an error's message, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

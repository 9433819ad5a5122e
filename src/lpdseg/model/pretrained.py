"""Loading published weights into a backbone, with an error instead of silence where they do not fit."""

import hashlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from lpdseg.errors import WeightsError
from lpdseg.files import read_json
from lpdseg.model.cards import CARDS
from lpdseg.model.configuration import (
    check_affordable,
    first_line,
    plain_configuration,
    quiet_loading,
    understood,
)
from lpdseg.model.encoder_kinds import Kind
from lpdseg.model.families import kind_of
from lpdseg.model.hub import cache_alone
from lpdseg.model.weights_folder import (
    check_file,
    check_normalisation,
    check_says_its_type,
    check_weights_folder,
    convert_command,
    gated,
    hub_id_of,
    values_in,
)
from lpdseg.quiet import library

_PROCESSOR = "preprocessor_config.json"

UNNAMED = "a-local-folder"
"""What a bundle says of weights that came from a folder of the machine that trained."""


def read_values(weights: str, label: str, hub_id: str) -> dict[str, Any]:
    """What the configuration of the weights of a folder or hub id says, with the type of network; `label` is what
    they are for, and `hub_id` whose weights would do, for messages.

    **Raises:** `WeightsError` where nothing is found, or what describes no network.
    """
    values = check_weights_folder(weights, hub_id)
    if values is None and weights == UNNAMED:
        raise WeightsError(
            f"the weights for {label} came from a folder of the machine that trained, and a bundle does not hold "
            "them; name a folder that has them, with --weights or in the setting that wants them"
        )
    if values is None:
        try:
            # Not through AutoConfig, which may offer to run code that comes with the weights.
            with quiet_loading():
                values, _ = library("transformers").PreTrainedConfig.get_config_dict(
                    weights, local_files_only=cache_alone(weights)
                )
        except (OSError, ValueError, ImportError, TypeError, RecursionError) as error:
            raise WeightsError(_unread(error, weights, label)) from error
        check_says_its_type(values, weights, hub_id)
    return plain_configuration(values, f"the config.json of {weights}")


def read_configuration(weights: str, label: str, hub_id: str) -> Any:
    """The configuration of the weights of a folder or hub id, as `read_values`.

    **Raises:** `WeightsError` where nothing is found, or what cannot be an encoder.
    """
    values = read_values(weights, label, hub_id)
    transformers = library("transformers")
    if values["model_type"] == "dinov2" and values.get("num_register_tokens"):
        values["model_type"] = (
            "dinov2_with_registers"  # published before the library had it; the names are the same
        )
    try:
        kind_of(values["model_type"])
        return transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    except WeightsError as error:
        raise WeightsError(f"{weights} cannot be used: {error}") from error
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise WeightsError(_unread(error, weights, label)) from error


def load_backbone(kind: Kind, weights: str, config: Any, label: str) -> nn.Module:
    """Weights of a folder or hub id → a backbone of that configuration, which is for `label`.

    **Raises:** `WeightsError` where parameters are missing, do not fit or are no numbers.
    """
    return load_network(kind.network(config), weights, config, label, kind.spare)


def load_network(
    network: Any, weights: str, config: Any, label: str, spare: str | tuple[str, ...] = ()
) -> nn.Module:
    """As `load_backbone`, for a class of `transformers`; `spare` is how parameters begin that need not be there."""
    described = f"the config.json of {weights}"
    for path in sorted(Path(weights).glob("*.safetensors")):
        check_file(path)
    check_affordable(lambda: network(deepcopy(config)), described, values_in(weights))
    with understood(described):
        built, info = _load(network, weights, config)
    absent = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    lacking = sorted(key for key in absent if not key.startswith(spare))
    if lacking:
        raise WeightsError(
            f"{weights} lacks {len(lacking)} parameters of {label} (the first is {lacking[0]}); "
            "it is incomplete or of another architecture"
        )
    check_numbers(built, weights)
    return built


def check_numbers(network: nn.Module, weights: str) -> None:
    """**Raises:** `WeightsError` for parameters that are no numbers."""
    odd = next((name for name, values in network.state_dict().items() if not values.isfinite().all()), None)
    if odd is not None:
        raise WeightsError(f"{weights} holds values that are no numbers (NaN or infinite) in {odd}; get it again")


@torch.no_grad()
def try_network(
    network: nn.Module, sides: tuple[int, int], weights: str, sizes: tuple[int, ...] | None = None
) -> None:
    """Refuses a network of numbers that computes others: whatever learns from it would be worth nothing.

    It sees one image of noise (uniform, seed 0), and gives one tensor or several; `sizes` is of each.

    **Raises:** `WeightsError`.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        with understood(f"the config.json of {weights}"):
            found = network.eval()(torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0)))
    finally:
        for module, mode in modes:
            module.training = mode
    found = [found] if isinstance(found, torch.Tensor) else found
    if not all(values.isfinite().all() for values in found):
        raise WeightsError(f"the network in {weights} computes values that are no numbers; get it again")
    if sizes is not None and any(tuple(values.shape) != sizes for values in found):
        raise WeightsError(f"the network in {weights} gives no embedding of {sizes[-1]} numbers; name another")


def read_normalisation(
    weights: str, mean: tuple[float, ...], std: tuple[float, ...], published: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and sd that weights expect of RGB in [0, 1]: of their `preprocessor_config.json`, else of their card
    where that is known here, else those given.

    `published` says that those given are known to be the weights' own, so that the file need not be had.

    **Raises:** `WeightsError` for a file that cannot be fetched, cannot be read or holds other than three numbers
    each that can be of RGB in [0, 1].
    """
    if (card := CARDS.get(hub_id_of(weights))) is not None:
        (mean, std), published = card, True
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
        values = read_json(path)
        mean, std = (
            tuple(float(number) for number in values.get(key, default))
            for key, default in (("image_mean", mean), ("image_std", std))
        )
    except (ValueError, AttributeError, TypeError, OverflowError, OSError) as error:
        raise WeightsError(f"{path} is not the JSON of an image processor: {first_line(error)}") from error
    check_normalisation(path, mean, std, values.get("rescale_factor"))
    return mean, std


def _fetch_processor(weights: str) -> Path | None:
    """The file from the hub or its cache; None where the repository is known not to have it."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(weights, _PROCESSOR, local_files_only=cache_alone(weights)))
    except EntryNotFoundError as error:
        offline = isinstance(error, LocalEntryNotFoundError)
        # The cache remembers which files the hub did not have when it was last asked.
        if offline and try_to_load_from_cache(weights, _PROCESSOR) is not _CACHED_NO_EXIST:
            raise
        return None


def _unread(error: Exception, weights: str, label: str) -> str:
    """Why a configuration could not be had."""
    return gated(weights, error) or (
        f"cannot get weights {weights!r} for {label}: neither a local folder with a config.json nor a model that "
        f"the hub gave us ({first_line(error)}); go online once, or name a folder that has them"
    )


def _load(backbone_class: Any, weights: str, config: Any) -> tuple[nn.Module, dict[str, Any]]:
    try:
        with quiet_loading():
            backbone, info = backbone_class.from_pretrained(
                weights,
                config=config,
                local_files_only=cache_alone(weights),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,  # whatever the file holds: autocast decides where halves are used
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        if not Path(weights).exists() and "cannot be loaded with `safetensors`" in str(error):
            raise WeightsError(
                f"{weights} has no safetensors on the hub, and its pickle may run code when opened; "
                f"{convert_command(weights)} makes a folder of its tensors without running any"
            ) from error
        raise WeightsError(f"cannot load weights from {weights!r}: {first_line(error)}") from error
    return backbone, info


def weights_source(weights: str) -> dict[str, str]:
    """Which weights these are, once they are loaded: the SHA-256 of a local folder's safetensors files, one after
    another in the order of their names, or the hub's revision; and the hub id `of` which a folder was converted.
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
    hub_id = hub_id_of(weights)
    return {"weights": weights, "sha256": digest.hexdigest()} | ({"of": hub_id} if hub_id != weights else {})

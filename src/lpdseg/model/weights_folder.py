"""Looking at a folder of pretrained weights before the library opens it, to say in one sentence what it lacks."""

import math
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors import SafetensorError

from lpdseg.errors import WeightsError
from lpdseg.files import is_there, read_json
from lpdseg.model.tensor_files import check_kinds, shapes
from lpdseg.schema import Described, Scale, fits

PICKLES = (".bin", ".pth", ".pt", ".ckpt")
"""How files of `torch.save` end."""

_ADAPTER = "adapter_config.json"
"""By which the library peft would take weights from elsewhere, in place of those of the folder."""

_OTHERS = (".h5", ".msgpack", ".onnx", ".npz")

LEAST_SD = 0.001
"""Of a channel in [0, 1] over many images; one below it is none of pictures, and division by it overflows."""

RECORD = "conversion.json"
"""What lies beside converted weights: where they are from and how they were proven."""


class _Record(Described):
    """What is read of `RECORD`."""

    hub: dict[str, str] = Field(default_factory=dict)
    mpp: Scale | None = None


def read_record(weights: str) -> dict[str, Any]:
    """What lies beside converted weights says; empty for all others."""
    with suppress(OSError, ValueError):
        values: dict[str, Any] = read_json(Path(weights).expanduser() / RECORD)
        return values if fits(_Record, values) else {}
    return {}


def hub_id_of(weights: str) -> str:
    """The hub id that a folder was converted from, or in whose cache it is; else what was given."""
    told = read_record(weights).get("hub", {}).get("id")
    cached = re.search(r"[/\\]models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\]", weights)
    return str(told) if told else f"{cached[1]}/{cached[2]}" if cached else weights


def convert_command(folder: str) -> str:
    """What makes weights loadable that are not."""
    return f"lpdseg weights convert {shlex.quote(folder)} OUT"


def check_weights_folder(weights: str, instead: str) -> dict[str, Any] | None:
    """What the config.json of a local folder says; refuses a folder that cannot be loaded. None for anything
    that is no local path, which is left to the hub.

    `instead` is a hub id whose weights would do.

    **Raises:** `WeightsError`.
    """
    folder = Path(weights).expanduser()
    if folder.is_file():
        raise WeightsError(
            f"{weights} is a file; name the folder that holds it and its config.json, or make one with "
            f"{convert_command(weights)}"
        )
    config_path = folder / "config.json"
    if not config_path.is_file():
        if folder.exists() or weights.startswith((".", "/", "~")):
            files = folder.iterdir() if folder.is_dir() else ()
            some = any(path.name.endswith((*PICKLES, ".safetensors")) for path in files)
            make = f", or make one with {convert_command(weights)}" if some else ""
            raise WeightsError(
                f"{weights} is no weights folder: it has no config.json; name the folder that has one{make}"
            )
        return None
    try:
        config = read_json(config_path)
        if not isinstance(config, dict):
            raise ValueError("it holds no names")
    except (ValueError, OSError) as error:
        raise WeightsError(f"{config_path} is not the JSON of a network: {error}; get the folder again") from error
    check_says_its_type(config, weights, instead)
    for index in folder.glob("*.safetensors.index.json"):
        shards(index)
    if is_there(folder / _ADAPTER):
        raise WeightsError(
            f"{weights} holds an adapter ({_ADAPTER}), which changes weights of elsewhere; take weights "
            "that it has been merged with"
        )
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(_without_safetensors(weights, folder))
    return config


def check_file(path: Path) -> None:
    """Refuses a file of safetensors whose header is too long, or whose parameters are of other kinds.

    **Raises:** `WeightsError`.
    """
    try:
        check_kinds(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}; get it again") from error


def check_says_its_type(config: dict[str, Any], weights: str, instead: str) -> None:
    """Refuses the configuration of weights that `transformers` cannot read, which has no type.

    **Raises:** `WeightsError` that says what to do.
    """
    if config.get("model_type") is not None:
        if not isinstance(config["model_type"], str):
            raise WeightsError(f"the config.json of {weights} has a model_type that is no text; get it again")
        return
    if "pretrained_cfg" in config or "architecture" in config:
        raise WeightsError(
            f"{weights} holds weights of the library timm ({config.get('architecture', 'unnamed')}), whose "
            "parameters have other names than those of transformers, which are read here; "
            f"{convert_command(weights)} makes a folder that can be, or take the network's weights for "
            f"transformers, such as {instead}"
        )
    raise WeightsError(
        f"the config.json of {weights} does not say what network it is (no model_type); take weights for "
        f"transformers, such as {instead}"
    )


def gated(weights: str, error: BaseException) -> str | None:
    """What to do about a hub id whose owner grants access; None where an error has another reason."""
    from huggingface_hub.errors import GatedRepoError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, GatedRepoError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    return (
        f"{weights} is gated: ask for access on its page at huggingface.co, then log in with 'hf auth login' or "
        "set HF_TOKEN"
    )


def shards(index: Path) -> list[Path]:
    """The files that an index of a set names, all of which are there.

    **Raises:** `WeightsError` where some are missing, or the index is none.
    """
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if any(name != Path(name).name for name in names):
            raise ValueError("it names files of other folders")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WeightsError(f"{index} is not the index of a set of files ({error}); get it again") from error
    missing = [name for name in names if not is_there(index.parent / name)]
    if missing:
        raise WeightsError(
            f"{index.parent} lacks {len(missing)} of the {len(names)} files that {index.name} names (the first is "
            f"{missing[0]}); get them"
        )
    return [index.parent / name for name in names]


def values_in(weights: str) -> int | None:
    """How many values the safetensors of a local folder hold; None where that cannot be told yet."""
    try:
        found = [shapes(path) for path in Path(weights).expanduser().glob("*.safetensors")]
    except (OSError, SafetensorError):
        return None
    return sum(math.prod(shape) for one in found for shape in one.values()) if found else None


def _without_safetensors(weights: str, folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles:
        return (
            f"{weights} holds {', '.join(pickles)} and no safetensors; such files may run code when opened, so "
            f"they are not read here; {convert_command(weights)} takes their tensors out without running any"
        )
    other = [name for name in names if name.endswith(_OTHERS)]
    held = f"holds {', '.join(other)} and no safetensors" if other else "holds no safetensors"
    return f"{weights} {held}; get the model.safetensors of the same weights"


def check_normalisation(source: Path | str, mean: Sequence[float], std: Sequence[float], rescale: object) -> None:
    """Refuses mean and sd that cannot be those of RGB in [0, 1]; bytes are multiplied with `rescale` where told.

    **Raises:** `WeightsError` that names the source.
    """
    if len(mean) != 3 or len(std) != 3:
        raise WeightsError(f"{source}: image_mean and image_std must have three numbers each")
    told = f"image_mean {list(mean)} and image_std {list(std)}"
    if not all(map(math.isfinite, (*mean, *std))):
        raise WeightsError(f"{source}: {told} are no numbers; write down those that the weights were trained with")
    if any(value > 1 for value in mean) and all(0 <= value <= 255 for value in mean) and all(x > 1 for x in std):
        raise WeightsError(f"{source}: {told} are of RGB in 0..255; divide them by 255")
    if not all(0 <= value <= 1 for value in mean) or not all(LEAST_SD <= value <= 1 for value in std):
        raise WeightsError(
            f"{source}: {told} cannot be of RGB in 0..1, where means are in 0..1 and sds in {LEAST_SD}..1; "
            "write down those that the weights were trained with"
        )
    if rescale is not None and not (isinstance(rescale, int | float) and abs(rescale * 255 - 1) < 1e-3):
        raise WeightsError(
            f"{source}: rescale_factor {rescale} is not 1/255, so that image_mean and image_std are not of RGB in "
            "0..1; give the two for that range and take rescale_factor out"
        )

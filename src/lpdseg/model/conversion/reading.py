"""Tensors of published weights: from a folder, a file or the hub, without running code that a file holds."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lpdseg.errors import WeightsError
from lpdseg.files import read_json
from lpdseg.model.hub import cache_alone
from lpdseg.model.pickles import RefusedError, read_pickle
from lpdseg.model.tensor_files import load_tensors
from lpdseg.model.weights_folder import PICKLES, gated, shards

_NESTED = ("teacher", "state_dict", "model", "model_state_dict", "backbone", "encoder", "student")
"""Where checkpoints keep a network's tensors, the best first."""

_WANTED = ["config.json", "preprocessor_config.json", "*.index.json"]


@dataclass(frozen=True)
class Source:
    """Published weights as they are.

    **Attributes:**

    - `tensors`: by their names; nothing but numbers that are finite.
    - `config`: of the `config.json` beside them; empty where there is none.
    - `folder`: where the files are, and `files` those that hold the tensors.
    - `hub`: id and revision on the hub, where they were fetched from there.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    folder: Path
    files: list[Path]
    hub: dict[str, str] = field(default_factory=dict)

    def sha256(self) -> dict[str, str]:
        """Of each file."""
        found = {}
        for path in self.files:
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found


def read_source(source: str) -> Source:
    """The weights at a path, or of a hub id where nothing lies there.

    **Raises:** `WeightsError` where nothing is found, parts are missing, a file needs code to be opened, or numbers
    are NaN or infinite.
    """
    path, hub = Path(source).expanduser(), dict[str, str]()
    if not path.exists():
        path, hub = _fetch(source)
    files = [path] if path.is_file() else _files(path)
    folder = path.parent if path.is_file() else path
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read(file)
    for name, values in tensors.items():
        if not values.isfinite().all():
            raise WeightsError(f"{path} holds values that are no numbers (NaN or infinite) in {name}; get it again")
    return Source(tensors, _config(folder / "config.json"), folder, files, hub)


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = read_json(path)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{path} is not the JSON of a network: {error}; get it again") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is not the JSON of a network; get it again")
    return values


def _files(folder: Path) -> list[Path]:
    """The files that hold the tensors: safetensors before pickles, whole sets of shards before single files."""
    for kinds in ((".safetensors",), PICKLES):
        found = sorted(path for path in folder.iterdir() if path.name.endswith(kinds))
        index = sorted(path for kind in kinds for path in folder.glob(f"*{kind}.index.json"))
        if index:
            return shards(index[0])
        if len(found) > 1:
            standard = [path for path in found if path.name in ("model.safetensors", "pytorch_model.bin")]
            if len(standard) != 1:
                names = ", ".join(path.name for path in found)
                raise WeightsError(f"{folder} holds several files of weights ({names}); name the file to convert")
            return standard
        if found:
            _refuse_lone_shard(found[0])
            return found
    raise WeightsError(
        f"{folder} holds no weights: no .safetensors, {', '.join(PICKLES)}; name the folder that does"
    )


def _refuse_lone_shard(path: Path) -> None:
    part = re.search(r"-(\d+)-of-(\d+)\.", path.name)
    if part and int(part[2]) > 1:
        raise WeightsError(
            f"{path} is one of {int(part[2])} files and their index is missing; get the whole set and "
            f"{path.name.replace(part[0], '.')}.index.json"
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_tensors(path)
        found = read_pickle(path)
    except RefusedError as error:
        raise WeightsError(f"{path} is not read: {error}; get the same weights as safetensors") from error
    except Exception as error:  # what is damaged raises almost anything
        raise WeightsError(_unreadable(path, str(error))) from error
    tensors = _tensors(found)
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name; name a file of weights")
    return tensors


def _unreadable(path: Path, reason: str) -> str:
    with path.open("rb") as file:
        if file.read(99).startswith(b"version https://git-lfs"):
            return f"{path} only points to the file of weights; get that with 'git lfs pull'"
    needed = re.search(r"GLOBAL (\S+) was not an allowed global", reason)
    if needed:
        return (
            f"{path} holds more than tensors: opening it would run code, of {needed[1]}, which is not done; get "
            "the same weights as safetensors, or as a plain state dict from whom you have them"
        )
    return f"{path} cannot be read as weights: it is damaged, or was not written by safetensors or torch.save"


def _tensors(found: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may lie under one of several keys."""
    if not isinstance(found, dict):
        return {}
    own = {name: value for name, value in found.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if own:
        return own
    return next((inside for key in _NESTED if (inside := _tensors(found.get(key)))), {})


def _fetch(source: str) -> tuple[Path, dict[str, str]]:
    """A hub id's files, from its cache or the net."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or source.startswith("."):
        raise WeightsError(f"{source} does not exist; name a folder, a file or a hub id of weights")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    def fetch(patterns: Iterable[str]) -> Path:
        wanted = [*_WANTED, *patterns]
        return Path(snapshot_download(source, allow_patterns=wanted, local_files_only=cache_alone(source)))

    try:
        folder = fetch(["*.safetensors"])
        if not any(folder.glob("*.safetensors")):
            folder = fetch(["pytorch_model*.bin"])
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise WeightsError(
            gated(source, error)
            or f"{source} is no folder or file here, and the hub did not give it "
            f"({(str(error).splitlines() or ['no reason told'])[0].rstrip('.')}); go online, or get it another way "
            "and name the folder"
        ) from error
    return folder, {"id": source, "revision": folder.name}

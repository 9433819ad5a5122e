"""Checkpoints: tensors as safetensors, everything else as JSON, with the SHA-256 of the weights' file.

`last.json` and `best.json` each name the tensor files that belong to them and are replaced only once those are
written whole, so that a process killed at any moment leaves a checkpoint that can be read.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lpdseg.data.records import content_digest
from lpdseg.errors import CheckpointError, OutputError
from lpdseg.files import replacing, write_json
from lpdseg.sharing.folder import WEIGHTS, is_bundle, read_description
from lpdseg.sharing.hub import local

FORMAT = 1
NAMES = ("last", "best")
_KEYS = {
    "step",
    "steps",
    "seconds",
    "best",
    "thresholds",
    "offsets",
    "valid",
    "classes",
    "encoder",
    "settings",
    "data",
    "files",
}
_FOLDER = "checkpoints"


def save_checkpoint(
    run: Path,
    name: str,
    state: dict[str, Any],
    weights: dict[str, Tensor] | None,
    optimiser: dict[str, Tensor] | None,
) -> None:
    """Writes `NAME.json` and its tensors under `run`, then removes files that nothing names any more.

    `weights` None says that the caller has already saved those of this step under another name.

    **Raises:** `OutputError` where they cannot be written; the checkpoint before stays as it was.
    """
    folder = run / _FOLDER
    stem = f"{state['step']:08d}.safetensors"
    files = {"weights": f"weights-{stem}"} | ({} if optimiser is None else {"optimiser": f"optimiser-{stem}"})
    for kind, tensors in (("weights", weights), ("optimiser", optimiser)):
        if tensors is not None:
            _save_tensors(folder / files[kind], tensors)
    digest = content_digest(folder / files["weights"])
    write_json(folder / f"{name}.json", {"format": FORMAT, **state, "files": files, "weights_sha256": digest})
    pointers = [path for path in (folder / f"{known}.json" for known in NAMES) if path.is_file()]
    named = {file for path in pointers for file in json.loads(path.read_text(encoding="utf-8"))["files"].values()}
    for path in (*folder.glob("*.safetensors"), *folder.glob(".*.tmp*")):  # the latter of a process that was killed
        if path.name not in named:
            path.unlink(missing_ok=True)


def has_checkpoint(run: Path, name: str) -> bool:
    """Whether `run` holds a checkpoint of that name; a bundle has but one, which serves as `best`."""
    return (run / _FOLDER / f"{name}.json").is_file() or (name == "best" and is_bundle(run))


def read_state(run: Path, name: str) -> dict[str, Any]:
    """The JSON state of a checkpoint, or what a bundle says of the one that it was made of.

    **Raises:** `CheckpointError` where there is none, or it is not one that this version reads.
    """
    run = local(run)
    if is_bundle(run):
        return _checked(_of_bundle(run, name), run)
    path = run / _FOLDER / f"{name}.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{run} holds no {name!r} checkpoint ({path} is missing); train it first") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint's state: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT}; it was made by another version")
    return _checked(state, path)


def _of_bundle(run: Path, name: str) -> dict[str, Any]:
    described = read_description(run)
    if name not in ("best", described.get("checkpoint")):
        raise CheckpointError(f"{run} is a bundle, which has no checkpoint {name!r}; leave --checkpoint out")
    return {**described, "files": {"weights": WEIGHTS}}


def _checked(state: dict[str, Any], path: Path) -> dict[str, Any]:
    missing = sorted(_KEYS - state.keys())
    if missing:
        raise CheckpointError(
            f"{path} is incomplete: {missing[0]!r} is missing; use another checkpoint or train again"
        )
    _as_before(state["settings"])
    return state


def _as_before(settings: dict[str, Any]) -> None:
    """Fills in what runs did before there was a setting for it, where that is not the setting's default now."""
    settings.get("model", {}).setdefault("head", "linear")
    settings.get("loss", {}).setdefault("morphology", {"weight": 0.0})


def tensors_file(run: Path, state: dict[str, Any], kind: str) -> Path:
    """Where the tensors of a checkpoint lie: `weights` or `optimiser`."""
    folder = local(run)
    return (folder if is_bundle(folder) else folder / _FOLDER) / str(state["files"].get(kind))


def read_tensors(run: Path, state: dict[str, Any], kind: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint: `weights` or `optimiser`.

    **Raises:** `CheckpointError` where they are missing or damaged.
    """
    path = tensors_file(run, state, kind)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged: {error}; use another checkpoint or train again"
        ) from error


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as a flat mapping of tensors."""
    return {
        f"{index}.{key}": value.detach()
        for index, values in optimiser.state_dict()["state"].items()
        for key, value in values.items()
    }


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `pack_optimiser` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        with replacing(path) as temporary:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    except SafetensorError as error:
        raise OutputError(f"cannot write {path}: {error}; free space or choose another folder") from error

"""Checkpoints: tensors as safetensors, everything else as JSON, with the SHA-256 of the weights' file.

`last.json` and `best.json` each name the tensor files that belong to them and are replaced only once those are
written whole, so that a process killed at any moment leaves a checkpoint that can be read.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor

from lpdseg.choices import Tuning
from lpdseg.data.classes_file import CLASSES_FILE
from lpdseg.data.manifest import MANIFEST_FILE
from lpdseg.data.records import content_digest
from lpdseg.errors import CheckpointError, LpdsegError, OutputError, SettingsError
from lpdseg.files import NAME_IT, check_name, read_json, replacing_apart, write_json
from lpdseg.model.tensor_files import load_tensors, save_tensors, shapes
from lpdseg.model.weights_folder import LEAST_SD
from lpdseg.schema import Described, FileName, PerCent, Scale, Seconds, Share, Whole, conform
from lpdseg.settings import parse_settings
from lpdseg.sharing.folder import WEIGHTS, is_bundle, read_description
from lpdseg.sharing.hub import local
from lpdseg.tissue import TissueClasses

FORMAT = 1
NAMES = ("last", "best")
_FOLDER = "checkpoints"
_TENSORS = re.compile(r"(weights|optimiser)-[0-9]{8,}\.safetensors")
Found = TypeVar("Found")
_REMEDY = "use another checkpoint or train again"

_Three = {"min_length": 3, "max_length": 3}
_Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]


class _Encoder(Described):
    """`Encoder.from_config` looks at the backbone itself."""

    backbone: dict[str, Any]
    mean: Annotated[list[Share], Field(**_Three)]
    std: Annotated[list[Annotated[float, Field(ge=LEAST_SD, le=1)]], Field(**_Three)]
    freeze_norm: bool
    last_stride: Literal[1, 2] | None
    tune: Tuning = "all"


class _Files(Described):
    weights: FileName
    optimiser: FileName | None = None


class Corrected(Described):
    """See `lpdseg.data.corrected.LearntFrom`."""

    images: list[str]
    patients: dict[Literal["valid", "test"], list[str]]


_Figure = Annotated[float, Field(ge=-1e3, le=1e3)] | None
_Ends = Annotated[list[_Figure], Field(min_length=2, max_length=2)]


class _Level(Described):
    f1: _Figure = None
    auc: _Figure = None


class _Reliability(Described):
    ece: _Figure = None


class _Interval(Described):
    miou: _Ends | None = None
    mdice: _Ends | None = None


class _Valid(Described):
    """The record of validation, see `lpdseg.evaluation.protocol.record`, as far as it is read again."""

    split: str = "valid"
    gate: str = ""
    background: str = ""
    refine: str = ""
    unit: str = ""
    images: Whole = 0
    patients: Whole | None = None
    miou: _Figure = None
    mdice: _Figure = None
    fwiou: _Figure = None
    pixel_accuracy: _Figure = None
    classes: dict[str, dict[str, _Figure]] = Field(default_factory=dict)
    image_level: _Level | None = None
    reliability: _Reliability | None = None
    interval: _Interval | None = None
    confusion: list[list[Whole]] | None = None


class _State(Described):
    """A checkpoint's JSON. What has a default is not in those of earlier versions."""

    step: Annotated[int, Field(ge=0, lt=10**8)]
    steps: Whole
    seconds: Seconds
    best: PerCent | None
    thresholds: list[Annotated[float, Field(ge=0, le=1.01)]]  # one that no score reaches lies just above 1
    offsets: list[Annotated[float, Field(ge=-1e3, le=1e3)]]
    valid: _Valid | None
    classes: dict[str, Any]
    encoder: _Encoder
    settings: dict[str, Any]
    data: str
    files: _Files
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    waited: Seconds = 0.0
    temperature: _Temperature | None = None
    calibrated: Whole | None = None
    corrected: Corrected | None = None
    mpp: Scale | None = None
    patch: Annotated[list[Annotated[int, Field(ge=1, le=1 << 16)]], Field(min_length=2, max_length=2)] | None = None
    chunk: Annotated[int, Field(ge=1, le=1 << 20)] | None = None


def save_checkpoint(
    run: Path,
    name: str,
    state: dict[str, Any],
    weights: dict[str, Tensor] | None,
    optimiser: dict[str, Tensor] | None,
) -> None:
    """Writes `NAME.json` and its tensors under `run`, then removes tensors that nothing names any more.

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
    try:
        named = {file for path in pointers for file in read_json(path)["files"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # nobody knows what a damaged one names
    ours = [path for path in folder.glob("*.safetensors") if _TENSORS.fullmatch(path.name)]
    for path in (*ours, *folder.glob(".*.tmp*")):  # the latter of a process that was killed
        if path.name not in named:
            path.unlink(missing_ok=True)


def has_checkpoint(run: Path, name: str) -> bool:
    """Whether `run` holds a checkpoint of that name; a bundle has but one, which serves as `best`."""
    return (run / _FOLDER / f"{name}.json").is_file() or (name == "best" and is_bundle(run))


def check_apart(out: Path, may_be_data: bool = False, may_be_run: bool = False) -> None:
    """Whether results may go into a folder: not among the checkpoints of a run, nor into a run's, a bundle's or a
    data set's own folder; and whether the folder can have its name.

    **Raises:** `OutputError`.
    """
    check_name(out, NAME_IT, folder=True)
    here = out.resolve()
    bundle = is_bundle(here)
    if bundle or (not may_be_run and any(has_checkpoint(here, name) for name in NAMES)):
        raise OutputError(
            f"{out} is the folder of a {'bundle' if bundle else 'run'}, and results would mix with it; choose "
            "another folder, such as one within it"
        )
    if here.name == _FOLDER and any(has_checkpoint(here.parent, name) for name in NAMES):
        raise OutputError(
            f"{out} holds the checkpoints of a run, and results would mix with them; choose another folder"
        )
    told = next((name for name in (MANIFEST_FILE, CLASSES_FILE) if (out / name).is_file()), None)
    if told is not None and not may_be_data:
        raise OutputError(
            f"{out} is the folder of a data set, as its {told} says, and results would mix with it; choose "
            "another folder"
        )


def read_state(run: Path, name: str) -> dict[str, Any]:
    """The JSON state of a checkpoint, or what a bundle says of the one that it was made of.

    **Raises:** `CheckpointError` where there is none, or it is not one that this version reads.
    """
    run = local(run)
    if is_bundle(run):
        return _checked(_of_bundle(run, name), run)
    path = run / _FOLDER / f"{name}.json"
    try:
        state = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not run.is_dir():
            raise CheckpointError(f"{run} is no folder; name the folder that `lpdseg train --out` wrote") from error
        raise CheckpointError(f"{run} holds no {name!r} checkpoint ({path} is missing); train it first") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint's state: {error}; {_REMEDY}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT}; it was made by another version")
    return _checked(state, path)


@contextmanager
def one_state(run: Path, name: str) -> Iterator[None]:
    """Whatever is read of a checkpoint inside the block is of one state of it.

    **Raises:** `CheckpointError` where a training has saved another meanwhile.
    """
    before = read_state(run, name)
    try:
        yield
    except LpdsegError as error:  # such as for a file that is gone by now
        if read_state(run, name) == before:
            raise
        raise _trained_meanwhile(run) from error
    if read_state(run, name) != before:
        raise _trained_meanwhile(run)


def _trained_meanwhile(run: Path) -> CheckpointError:
    return CheckpointError(f"{run} is being trained and has saved other weights meanwhile; try again")


def _of_bundle(run: Path, name: str) -> dict[str, Any]:
    described = read_description(run)
    if name not in ("best", described.get("checkpoint")):
        raise CheckpointError(f"{run} is a bundle, which has no checkpoint {name!r}; leave --checkpoint out")
    return {**described, "files": {"weights": WEIGHTS}}


def _checked(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The state, once it is known that it can be one; with all settings there are."""
    conform(_State, state, path, CheckpointError, _REMEDY)
    try:
        classes = TissueClasses.from_dict(state["classes"])
    except SettingsError as error:
        raise CheckpointError(f"{path}: {error}; {_REMEDY}") from error
    if not len(state["thresholds"]) == len(state["offsets"]) == len(classes):
        raise CheckpointError(
            f"{path} has {len(state['thresholds'])} thresholds and {len(state['offsets'])} offsets for "
            f"{len(classes)} classes; {_REMEDY}"
        )
    _as_before(state["settings"])
    state["settings"] = parse_settings(state["settings"], source=str(path)).model_dump(mode="json")
    return state


def _as_before(settings: dict[str, Any]) -> None:
    """Fills in what runs did before there was a setting for it, where that is not the setting's default now."""
    for section, name, before in (("model", "head", "linear"), ("loss", "morphology", {"weight": 0.0})):
        if isinstance(settings.get(section), dict):
            settings[section].setdefault(name, before)


def tensors_file(run: Path, state: dict[str, Any], kind: str) -> Path:
    """Where the tensors of a checkpoint lie: `weights` or `optimiser`."""
    folder = local(run)
    return (folder if is_bundle(folder) else folder / _FOLDER) / str(state["files"].get(kind))


def read_tensors(run: Path, state: dict[str, Any], kind: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint: `weights` or `optimiser`.

    **Raises:** `CheckpointError` where they are missing or damaged.
    """
    return _read(run, state, kind, load_tensors)


def read_shapes(run: Path, state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The sizes of the tensors of a checkpoint's weights, which are not read.

    **Raises:** `CheckpointError` where they are missing or damaged.
    """
    return _read(run, state, "weights", shapes)


def _read(run: Path, state: dict[str, Any], kind: str, read: Callable[[Path], Found]) -> Found:
    path = tensors_file(run, state, kind)
    try:
        return read(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is missing; a run that is being trained has saved others by now, so try again; else {_REMEDY}"
        ) from error
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); change its rights") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}; {_REMEDY}") from error


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as a flat mapping of tensors."""
    return {
        f"{index}.{key}": value.detach()
        for index, values in optimiser.state_dict()["state"].items()
        for key, value in values.items()
    }


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `pack_optimiser` took, each tensor in memory as its parameter is.

    Files know no strides, and the single kernel that updates all parameters on a GPU takes equal ones alone.

    **Raises:** `CheckpointError` for tensors of other parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        place = int(index) if index.isdecimal() and len(index) < 10 else len(parameters)
        if place >= len(parameters) or value.shape not in ((), parameters[place].shape):
            raise CheckpointError(f"the optimiser's {name} of a checkpoint fits no parameter; {_REMEDY}")
        state.setdefault(place, {})[key] = torch.empty_like(parameters[place]).copy_(value) if value.ndim else value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        with replacing_apart(path) as temporary:
            save_tensors({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    except SafetensorError as error:
        raise OutputError(f"cannot write {path}: {error}; free space or choose another folder") from error

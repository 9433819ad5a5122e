"""What run folders say of themselves, for pages and figures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpdseg.data.opening import same_classes
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError
from lpdseg.files import is_there, read_json
from lpdseg.schema import Described, PerCent, Seconds, Whole, conform
from lpdseg.sharing.folder import is_bundle, read_description
from lpdseg.sharing.hub import local
from lpdseg.tissue import TissueClasses

_REMEDY = "name the folder that `train` wrote"


class _Data(Described):
    source: str
    fingerprint: str
    patches: dict[str, Whole]
    patients: dict[str, Whole]


class _Run(Described):
    """`run.json`. What has a default comes late in a run."""

    status: str
    started: str
    settings: dict[str, Any]
    seed: Whole
    data: _Data
    versions: dict[str, str]
    hardware: dict[str, str | int | float | None]
    steps: Whole = 0
    step: Whole = 0
    parameters: Whole = 0
    seconds: Seconds | None = None
    valid_miou: PerCent | None = None
    losses: dict[str, str] | None = None
    weights: dict[str, str] | None = None


def read_run(run: Path) -> dict[str, Any]:
    """The record that `train` wrote, or as much of it as a bundle has.

    **Raises:** `CheckpointError` where `run` has no readable `run.json`.
    """
    described = _read(run)
    if not is_bundle(local(run)):
        conform(_Run, described, run / "run.json", CheckpointError, _REMEDY)
    return described


def _read(run: Path) -> dict[str, Any]:
    if is_bundle(folder := local(run)):
        told = read_description(folder)
        return {"settings": told["settings"], "data": told["training_data"], **told["training"]}
    path = run / "run.json"
    try:
        described = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{path} is missing; name the folder of a run that `train` wrote") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; train again") from error
    if not isinstance(described, dict) or "settings" not in described:
        raise CheckpointError(f"{path} does not describe a run; {_REMEDY}")
    return described


def data_of(run: Path) -> Path:
    """The data set that a run was trained on.

    **Raises:** `CheckpointError` where `run` has no readable `run.json`, or the data is not there any more.
    """
    told = _read(run).get("data")
    if not isinstance(told, dict) or "source" not in told:
        raise CheckpointError(f"{run} does not say where its training data are; name some with --data")
    source = Path(str(told["source"]))
    if not is_there(source) or source == Path():
        raise CheckpointError(f"{run} was trained on {source}, which is not there now; name the data with --data")
    return source


def data_for(
    runs: Sequence[Path],
    classes_of: Sequence[TissueClasses],
    data: str | Path | Manifest | None,
    classes: str | None = None,
    mask_values: Sequence[str] = (),
) -> Manifest:
    """The data set that runs are shown on, None for that of the first, once it is sure that all have its classes.

    **Raises:** as `data_of` and `lpdseg.data.opening.same_classes`.
    """
    manifest = same_classes(classes_of[0], data_of(runs[0]) if data is None else data, classes, mask_values)
    for others in classes_of[1:]:
        same_classes(others, manifest, None)
    return manifest


def run_names(runs: Sequence[Path]) -> list[str]:
    """What to call runs beside each other: the last parts of their paths that tell them apart, else numbers too."""
    parts = [run.resolve().parts for run in runs]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if max(Counter(names).values(), default=1) == 1:
            return names
    return [f"{run.resolve().name} ({number})" for number, run in enumerate(runs, 1)]

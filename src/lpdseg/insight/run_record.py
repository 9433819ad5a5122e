"""What run folders say of themselves, for pages and figures."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpdseg.data.opening import same_classes
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError
from lpdseg.sharing.folder import is_bundle, read_description
from lpdseg.sharing.hub import local
from lpdseg.tissue import TissueClasses


def read_run(run: Path) -> dict[str, Any]:
    """The record that `train` wrote, or as much of it as a bundle has.

    **Raises:** `CheckpointError` where `run` has no readable `run.json`.
    """
    if is_bundle(folder := local(run)):
        told = read_description(folder)
        return {"settings": told["settings"], "data": told["training_data"], **told["training"]}
    path = run / "run.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; name the folder of a run that `train` wrote") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; train again") from error
    if not isinstance(described, dict) or "settings" not in described:
        raise CheckpointError(f"{path} does not describe a run; name the folder that `train` wrote")
    return described


def data_of(run: Path) -> Path:
    """The data set that a run was trained on.

    **Raises:** `CheckpointError` where `run` has no readable `run.json`, or the data is not there any more.
    """
    told = read_run(run).get("data")
    if not isinstance(told, dict) or "source" not in told:
        raise CheckpointError(f"{run} does not say where its training data are; name some with --data")
    source = Path(str(told["source"]))
    if not source.exists() or source == Path():
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

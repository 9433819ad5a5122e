"""Options that several commands have, each with one wording."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.choices import Backend, Checkpoint

if TYPE_CHECKING:
    from lpdseg.segmenting.edits import Edits as ReadEdits

MaskValues = Annotated[
    list[str] | None,
    typer.Option(metavar="VALUE=NAME", help="What a value of masks stands for, as in 255=gland. Repeatable."),
]

DataClasses = Annotated[str | None, typer.Option(help="What the data's classes are, where its files do not tell.")]

OfRun = Annotated[Checkpoint, typer.Option(help="Which weights of the run.")]

Edits = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What an expert says of prototypes: name, merge, hide or move them."),
]

OffsetsData = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR_OR_CSV",
        help="With --edits: choose the classes' offsets anew, on the valid split of this data. Thresholds stay.",
    ),
]

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def edits_to_use(
    run: Path,
    edits: Path | None,
    data: Path | None,
    option: str = "--data",
    *,
    checkpoint: Checkpoint,
    device: str = "auto",
    backend: Backend = "torch",
    progress: Callable[[str, int, int], None] | None = None,
) -> "Path | ReadEdits | None":
    """The edits that are named, with offsets chosen on `data` where that is named; `option` is its name.

    **Raises:** `SettingsError` for data without edits; else as `lpdseg.api.choose_offsets`.
    """
    if data is None:
        return edits
    from lpdseg import api
    from lpdseg.errors import SettingsError

    if edits is None:
        raise SettingsError(f"{option} names data to choose offsets on under edits; name those with --edits")
    return api.choose_offsets(
        run, edits, data, checkpoint=checkpoint, device=device, backend=backend, progress=progress
    )

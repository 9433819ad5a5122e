"""Options that several commands have, each with one wording."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.choices import Checkpoint

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

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]

"""`lpdseg licenses`."""

from pathlib import Path
from typing import Annotated

import typer


def licenses(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="Only what this run used.")] = None,
) -> None:
    """List the licences of the code and of the pretrained weights it can start from."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lpdseg.insight.licences import Licensed, of_code, of_encoders, of_run

    table = Table(box=None, pad_edge=False)
    for heading in ("what", "licence", "from"):
        table.add_column(heading, overflow="fold")

    def show(entries: list[Licensed]) -> None:
        for entry in entries:
            table.add_row(Text(entry.what), Text(entry.licence), Text(entry.source))

    show(of_code())
    table.add_section()
    used = of_encoders() if run is None else of_run(run)
    show(used)
    Console().print(table)
    if run is not None and (closed := [entry.source for entry in used if "non-commercial" in entry.licence]):
        typer.echo(f"\nNot for commercial use, nor is what was trained from it: {', '.join(closed)}.")
    typer.echo("\nData sets have licences of their own; a model trained on non-commercial data may inherit that.")

"""`lpdseg licenses`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.terminal import Terminal, hand_over, say

if TYPE_CHECKING:
    from lpdseg.insight.licences import Licensed


def licenses(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RUN_OR_WEIGHTS", help="Only what this run, or these pretrained weights, used."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """List the licences of the code and of the pretrained weights it can start from.

    What is not for commercial use, or of unknown terms, is said at the end.
    """
    from dataclasses import asdict
    from json import dumps

    from lpdseg.insight.licences import of_distributions, of_encoders, of_run, of_weights

    code = of_distributions(extras=what is None)
    if what is None:
        used = of_encoders()
    else:
        weights = of_weights(what)
        used = of_run(Path(what)) if weights is None else [weights]
    if json:
        told = [asdict(entry) | {"concern": entry.concern} for entry in (*code, *used)]
        hand_over(dumps({"licences": told}, indent=2))
        return
    _show(code, used)
    for concern, sentence in (
        ("non-commercial", "Not for commercial use, nor is what was trained from it"),
        ("unknown", "Of unknown terms; read them before it is used or given away"),
    ):
        if named := [f"{entry.what} ({entry.source})" for entry in (*code, *used) if entry.concern == concern]:
            say("", f"{sentence}: {', '.join(named)}.")
    say("", "Data sets have licences of their own; a model trained on non-commercial data may inherit that.")


def _show(*groups: "list[Licensed]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("what", "licence", "from"):
        table.add_column(heading, overflow="fold")
    for entries in groups:
        for entry in entries:
            table.add_row(entry.what, entry.licence, entry.source)
        table.add_section()
    Terminal().print(table)

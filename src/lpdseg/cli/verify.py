"""`lpdseg verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.cli.common import Device
from lpdseg.cli.quietly import is_quiet
from lpdseg.terminal import Terminal, hand_over, say

if TYPE_CHECKING:
    from lpdseg.insight.verify import Row, Verified


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            envvar="LPDSEG_DATA",
            help="The data that it was trained on; by default where the run says that it is.",
        ),
    ] = None,
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Compute a run's validation figures again and say whether they, its files and its data are as recorded.

    Exits with 1 where something is not, and says what cannot be checked.
    """
    from json import dumps

    from lpdseg.cli.progress import stages
    from lpdseg.cli.stop import told_what_is_left
    from lpdseg.insight.verify import verify as look
    from lpdseg.quiet import quiet

    with told_what_is_left(lambda: "nothing was written"), stages() as progress, quiet():
        found = look(run, data, device, progress)
    if json:
        hand_over(dumps(found.as_dict(), indent=2))
    else:
        _show(found)
    if not found.holds:
        raise typer.Exit(1)


def _show(found: "Verified") -> None:
    from rich.table import Table
    from rich.text import Text

    console = Terminal()
    rows = [row for row in found.rows if not row.holds] if is_quiet() else found.rows
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "recorded", "now", "difference", "allowed"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("", "what") else "right")
    for row in rows:
        state = Text("holds", "green") if row.holds else Text("not so", "red")
        table.add_row(state, row.what, *_cells(row))
    if rows:
        console.print(table)
    if not is_quiet():
        console.print()
        say("Not checked:", *(f"- {sentence}." for sentence in found.unknown))
    if found.faults:
        console.print()
        console.print(f"Not as recorded, {len(found.faults)}:", style="bold red")
        say(*(f"- {sentence}." for sentence in found.faults))
    else:
        console.print()
        console.print(
            f"All that could be checked holds, {len(found.rows)} of {len(found.rows)}.", style="bold green"
        )


def _cells(row: "Row") -> tuple[str, ...]:
    numbers = row.difference is not None
    values = [_text(value) for value in (row.recorded, row.now)]
    return (*values, _text(row.difference), _text(row.tolerance)) if numbers else (*values, "", "")


def _text(value: float | str | None) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

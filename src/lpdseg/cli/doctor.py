"""`lpdseg doctor`: what this machine has, what is missing, and how to get it."""

from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.cli.quietly import is_quiet
from lpdseg.terminal import Terminal, hand_over

if TYPE_CHECKING:
    from rich.table import Table

    from lpdseg.cli.machine import Finding


def doctor(
    patches: Annotated[
        int | None, typer.Option(min=1, help="Say what training on so many patches will take on this machine.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Their side in px; by default 224.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over them; by default the preset's.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME_OR_YAML", help="Settings of that training, as of `train`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at versions, devices, memory and optional parts; exits with 1 where something needed is missing.

    Devices are measured by a product of matrices, and with --patches by some steps of training.
    """
    from dataclasses import asdict
    from json import dumps

    from lpdseg.cli.machine import examine
    from lpdseg.errors import SettingsError

    if patches is None and any(given is not None for given in (size, epochs, preset)):
        raise SettingsError("what a run will take hangs on how many patches there are; add --patches")
    findings = examine()
    if patches is not None and all(finding.state != "missing" for finding in findings):
        from lpdseg.cli.machine_run import examine_run

        findings += examine_run(patches, size or 224, epochs, preset)
    missing = [finding for finding in findings if finding.state == "missing"]
    if json:
        hand_over(dumps({"ok": not missing, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        console = Terminal()
        console.print(_table(missing if is_quiet() else findings))
        verdict = f"{len(missing)} needed parts are missing." if missing else "Everything that is needed is here."
        console.print()
        console.print(verdict, style="bold red" if missing else "bold green")
    if missing:
        raise typer.Exit(1)


def _table(findings: "list[Finding]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "optional": "yellow", "missing": "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("state", "part", "value"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        value = finding.value + (f"; {finding.advice}" if finding.advice else "")
        state = {"ok": "ok", "optional": "-", "missing": "missing"}[finding.state]
        table.add_row(Text(state, colours[finding.state]), finding.part, value)
    return table

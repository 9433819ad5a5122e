"""`lpdseg doctor`: what this machine has, what is missing, and how to get it."""

from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.cli.quietly import is_quiet

if TYPE_CHECKING:
    from lpdseg.cli.machine import Finding


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at versions, devices, memory and optional parts; exits with 1 where something needed is missing."""
    from dataclasses import asdict
    from json import dumps

    from lpdseg.cli.machine import examine

    findings = examine()
    missing = [finding for finding in findings if finding.state == "missing"]
    if json:
        typer.echo(dumps({"ok": not missing, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _show(missing if is_quiet() else findings)
        verdict = f"{len(missing)} needed parts are missing." if missing else "Everything that is needed is here."
        typer.secho(f"\n{verdict}", bold=True, fg="red" if missing else "green")
    if missing:
        raise typer.Exit(1)


def _show(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "optional": "yellow", "missing": "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("state", "part", "value"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        value = Text(finding.value + (f"; {finding.advice}" if finding.advice else ""))
        state = {"ok": "ok", "optional": "-", "missing": "missing"}[finding.state]
        table.add_row(Text(state, colours[finding.state]), Text(finding.part), value)
    Console().print(table)

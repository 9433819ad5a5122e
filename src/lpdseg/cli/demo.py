"""`lpdseg demo`."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.quietly import is_quiet
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import Terminal, say


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder of its own.")] = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny: whether everything runs, not what the method can do.")
    ] = False,
) -> None:
    """Generate patches, train on their labels, evaluate, and write a report. Needs no data and no download."""
    from lpdseg.insight.demo import run_demo
    from lpdseg.quiet import quiet as quiet_libraries

    with told_what_is_left(lambda: "run the same command again, and it goes on from there"), quiet_libraries():
        report = run_demo(out, Terminal(quiet=is_quiet()), quick)
    if is_quiet():
        say(report)

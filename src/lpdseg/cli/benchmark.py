"""`lpdseg benchmark`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.cli.common import Device
from lpdseg.cli.quietly import is_quiet
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import Terminal, say

if TYPE_CHECKING:
    from rich.table import Table

    from lpdseg.benchmark.summary import Section


def benchmark(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="What is compared: a YAML file, as in benchmarks/configs.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Runs and tables; a folder to go on with is fine.")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run this variant or data set alone; tables show all. Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; with more than one, one thread each.")] = 1,
    device: Device = "auto",
) -> None:
    """Train and score variants x seeds x data sets, and write one table with intervals and paired differences.

    Finished runs are used again, interrupted ones gone on with. The tables (table.md, .html, .csv and results.json)
    are written after every run.
    """
    from lpdseg.benchmark.runner import run_benchmark
    from lpdseg.cli.progress import stages
    from lpdseg.errors import TrainingError

    again = f"finished runs are kept, and the same command goes on from there; tables so far: {out / 'table.md'}"

    def on_the_way(text: str) -> None:
        if not is_quiet():
            say(text)

    with told_what_is_left(lambda: again), stages() as progress:
        finished = run_benchmark(
            config,
            out,
            only=only or (),
            jobs=jobs,
            device=device,
            command=_command(config, out, only or [], jobs, device),
            say=on_the_way,
            progress=progress,
        )
    for section in finished.sections:
        if section.gate == "predicted":
            Terminal().print(_brief(section))
    say(f"The whole table: {out / 'table.md'}, or open {out / 'table.html'}")
    if finished.failed:
        raise TrainingError(
            f"{finished.failed} of {finished.asked} runs failed; {out / 'table.md'} says why, and running the same "
            "command again tries them again"
        )


def _command(config: Path, out: Path, only: list[str], jobs: int, device: str) -> str:
    """The command without anything that belongs to this machine alone."""
    words = ["lpdseg", "benchmark", _told(config), "--out", _told(out)]
    words += [word for name in only for word in ("--only", name)]
    words += ["--jobs", str(jobs)] if jobs > 1 else []
    words += ["--device", device] if device != "auto" else []
    return shlex.join(words)


def _told(path: Path) -> str:
    """Relative to here where it lies below, else its name."""
    full = path.absolute()
    return full.relative_to(Path.cwd()).as_posix() if full.is_relative_to(Path.cwd()) else path.name


def _brief(section: "Section") -> "Table":
    """Variants down; mIoU and the difference to the reference across."""
    from rich.table import Table

    from lpdseg.benchmark.page import NOTHING, spread_text, starred_interval
    from lpdseg.evaluation.protocol import difference_text

    table = Table(title=f"{section.data}, gate {section.gate}, per cent", title_justify="left", box=None)
    table.add_column("variant")
    for name in ("mIoU", "interval", "difference", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in section.rows:
        if row.miou is None:
            table.add_row(row.variant, "failed" if row.failure else "to come", "", "", "")
            continue
        change = row.difference
        table.add_row(
            row.variant,
            spread_text(row.miou),
            starred_interval(row.interval),
            NOTHING if change is None else difference_text(change.value, ".1f"),
            NOTHING if change is None else starred_interval(change.interval, sign=True),
        )
    return table

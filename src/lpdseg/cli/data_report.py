"""The report of `lpdseg data check`, for a terminal."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from lpdseg.cli.quietly import is_quiet
from lpdseg.data.check_report import CheckReport, Problem
from lpdseg.terminal import Terminal

_EXAMPLES = 5


@contextmanager
def checking(count: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error over `count` patches; call what it gives after each."""
    with Progress(console=Terminal(stderr=True, quiet=is_quiet()), transient=True) as progress:
        bar = progress.add_task("Decoding", total=count)
        yield lambda: progress.advance(bar)


def show(report: CheckReport) -> None:
    """Prints a report: counts, shares, problems with a few files each, and the verdict as the last line."""
    console = Terminal(soft_wrap=True)
    console.print(report.source, style="bold")
    for note in report.notes:
        console.print(f"note: {note}", style="cyan")
    console.print(_counts(report))
    if report.together:
        console.print(_together(report))
    if report.mask_shares:
        console.print(_shares(report))
    sizes = [f"{size} ({count})" for size, count in report.sizes.items()]
    console.print(f"Image sizes: {', '.join(sizes[:_EXAMPLES])}{', …' if len(sizes) > _EXAMPLES else ''}")
    console.print()
    for problem in report.warnings:
        _show_problem(console, problem, "warning", "yellow")
    for problem in report.errors:
        _show_problem(console, problem, "error", "red")
    console.print(_verdict(report), style="bold green" if report.ok else "bold red")


def _counts(report: CheckReport) -> Table:
    """Patches, patients, masks and labels by split."""
    table = _table("", report.patches)
    for name, counts in [("patches", report.patches), ("patients", report.patients), ("masks", report.masks)]:
        table.add_row(name, *(str(counts[split]) for split in report.patches))
    if any(report.unlabelled.values()):
        table.add_row("without label", *(str(report.unlabelled[split]) for split in report.patches))
    table.add_section()
    for index, name in enumerate(report.classes):
        cells = []
        for split, patches in report.patches.items():
            labelled = patches - report.unlabelled[split]
            count = report.labels[split][index]
            cells.append(f"{count} {count / labelled:>4.0%}" if labelled else "-")
        table.add_row(f"label {name}", *cells)
    return table


def _together(report: CheckReport) -> Table:
    """Training patches that have both classes of a pair."""
    table = _table("train patches with both", report.classes)
    for name, row in zip(report.classes, report.together, strict=True):
        table.add_row(name, *map(str, row))
    table.add_section()
    table.add_row("with no other", *map(str, report.alone))
    return table


def _shares(report: CheckReport) -> Table:
    """Mask pixels of each class, by split."""
    table = _table("share of mask pixels", report.mask_shares)
    for name in next(iter(report.mask_shares.values())):
        if name == "ignored" and not any(shares[name] for shares in report.mask_shares.values()):
            continue
        table.add_row(name, *(f"{shares[name]:.1%}" for shares in report.mask_shares.values()))
    return table


def _table(first: str, columns: Iterable[str]) -> Table:
    """An empty table whose first column holds names and whose others hold numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _show_problem(console: Terminal, problem: Problem, word: str, style: str) -> None:
    """One problem with its total and at most `_EXAMPLES` of its files."""
    console.print(Text.assemble((word, f"bold {style}"), f": {problem.message} ({len(problem.files)})"))
    for file in problem.files[:_EXAMPLES]:
        console.print(f"    {file}")
    if len(problem.files) > _EXAMPLES:
        console.print(f"    … and {len(problem.files) - _EXAMPLES} more; --json FILE lists all")


def _verdict(report: CheckReport) -> str:
    """The last line."""
    errors, warnings = _number(len(report.errors), "error"), _number(len(report.warnings), "warning")
    patches = _number(sum(report.patches.values()), "patch", "patches")
    if report.ok:
        return f"No errors in {patches}, {warnings}."
    return f"Do not train on this yet: {errors} and {warnings} in {patches}."


def _number(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"

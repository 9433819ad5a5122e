"""Progress bars on standard error, which leave standard output to results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lpdseg.cli.quietly import is_quiet
from lpdseg.durations import Pacer, duration
from lpdseg.plain import one_line
from lpdseg.terminal import Terminal

if TYPE_CHECKING:
    from lpdseg.segmenting.slides.meter import Pace
    from lpdseg.workflows.slides.many import SlideProgress
    from lpdseg.workflows.slides.result import SlideResult


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of work; call what it gives with what is done, how much, of how much.

    Where standard error is no terminal, as in the log of a job, a line is printed every minute.
    """
    console = Terminal(stderr=True, quiet=is_quiet())
    if not console.is_terminal:
        pacers: dict[str, Pacer] = {}

        def say(what: str, done: int, total: int) -> None:
            told = pacers.setdefault(what, Pacer(first=60)).tell(done, total)
            if told is not None:
                console.print(f"{what} {told}", soft_wrap=True)

        yield say
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(escape(one_line(what)))
            bar.update(tasks[what], completed=done, total=total)

        yield tell


@contextmanager
def slide_stages() -> "Iterator[tuple[SlideProgress, Callable[[SlideResult], None]]]":
    """A bar for the slide at hand, with its windows per second and the share of waiting for pixels, and a line for
    each slide that has ended. Both are given as functions to call.

    Where standard error is no terminal, as in the log of a job, only the lines are shown.
    """
    console = Terminal(stderr=True, quiet=is_quiet())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, pace="")

        def tell(number: int, of: int, path: Path, stage: str, pace: "Pace | None") -> None:
            what = f"{number}/{of} {escape(one_line(path.name))}: {stage}"
            if pace is None:
                bar.update(task, description=what, pace="")
            else:
                bar.update(task, description=what, completed=pace.done, total=pace.total, pace=_shown(pace))

        def ended(result: "SlideResult") -> None:
            after = f" in {duration(result.seconds)}" if result.status == "segmented" else ""
            # Why a slide has failed is told at the end of the command.
            note = f": {result.sentence}" if result.sentence and result.status != "failed" else ""
            line = f"{result.path.name} {result.status}{after}{note}"
            console.print(line, soft_wrap=True)

        yield tell, ended


def _shown(pace: "Pace") -> str:
    left = "" if pace.left is None else f", {duration(pace.left)} left"
    return f"{pace.rate:.1f} windows/s{left}, {pace.waiting:.0%} waiting for pixels"

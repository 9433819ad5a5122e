"""What a person sees while a model trains, and what a program is told."""

from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from lpdseg.durations import Pacer
from lpdseg.plain import one_line


class Reporter(Protocol):
    """What the loop reports to."""

    def start(self, done: int, total: int) -> None:
        """Training goes on after step `done` of `total`."""

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """A step is done; `losses` are means since they were last told, or None between."""

    def pace(self, patches: float, waiting: float) -> None:
        """Patches per second since it was last told, and the share of that time that the device had none."""

    def figures(self, step: int, values: dict[str, float]) -> None:
        """What is written to `metrics.jsonl` after this step, by names such as `train/loss` and `valid/miou`."""

    def note(self, text: str) -> None:
        """A line to keep."""

    def stop(self) -> None:
        """No more steps."""


class Silent:
    """Says nothing; a base for reporters that heed only some of what is told."""

    def start(self, done: int, total: int) -> None:
        """Ignored."""

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """Ignored."""

    def pace(self, patches: float, waiting: float) -> None:
        """Ignored."""

    def figures(self, step: int, values: dict[str, float]) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def stop(self) -> None:
        """Ignored."""


class Bar(Silent):
    """A progress bar with the time left, the pace and the losses, and a line for each note."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            # The losses get the room that is left, so that they never squeeze the bar.
            TextColumn("{task.fields[losses]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("", total=None, losses="")
        self._pace = ""

    def start(self, done: int, total: int) -> None:
        """Shows the bar."""
        self._bar.update(self._task, completed=done, total=total)
        self._bar.start()

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=done)
        if losses is not None:
            self._bar.update(self._task, losses="  ".join(filter(None, (self._pace, shown_losses(losses)))))

    def pace(self, patches: float, waiting: float) -> None:
        """Is shown with the next losses."""
        self._pace = pace_text(patches, waiting)

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        _print(self.console, text)

    def stop(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()


class Lines(Silent):
    """Plain lines for logs: step, time left, pace and losses every minute, and a line for each note."""

    def __init__(self, console: Console, pacer: Pacer | None = None) -> None:
        self.console, self._pacer = console, pacer or Pacer()
        self._losses: dict[str, float] = {}
        self._total, self._pace = 0, ""

    def start(self, done: int, total: int) -> None:
        """Tells how many steps there are."""
        self._total = total
        self._pacer.start(done)
        self.note(f"training: {total} steps" + (f", of which {done} are done" if done else ""))

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """A line where it is time for one."""
        self._losses = losses or self._losses
        told = self._pacer.tell(done, self._total)
        if told is not None:
            self.note("  ".join(filter(None, (f"step {told}", self._pace, shown_losses(self._losses)))))

    def pace(self, patches: float, waiting: float) -> None:
        """Is told with the next line."""
        self._pace = pace_text(patches, waiting)

    def note(self, text: str) -> None:
        """Prints a line."""
        _print(self.console, text)


def bar_or_lines(console: Console) -> Reporter:
    """What suits the console: a bar where it can be drawn over, else lines."""
    return Bar(console) if console.is_terminal else Lines(console)


def shown_losses(losses: dict[str, float]) -> str:
    """Names and values in one line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())


def pace_text(patches: float, waiting: float) -> str:
    """Patches per second, and the share of the time that the device waits for them."""
    return f"{patches:.{0 if patches >= 10 else 1}f} patches/s, waiting {waiting:.0%}"


def _print(console: Console, text: str) -> None:
    # No markup: a file name may carry its label in brackets.
    console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)

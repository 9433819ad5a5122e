"""What a person sees while a model trains."""

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


class Reporter(Protocol):
    """What the loop tells whoever watches."""

    def start(self, done: int, total: int) -> None:
        """Training goes on after step `done` of `total`."""

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """A step is done; `losses` are means since they were last told, or None between."""

    def note(self, text: str) -> None:
        """A line to keep."""

    def stop(self) -> None:
        """No more steps."""


class Silent:
    """Says nothing."""

    def start(self, done: int, total: int) -> None:
        """Ignored."""

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def stop(self) -> None:
        """Ignored."""


class Bar:
    """A progress bar with the time left and the losses, and a line for each note."""

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

    def start(self, done: int, total: int) -> None:
        """Shows the bar."""
        self._bar.update(self._task, completed=done, total=total)
        self._bar.start()

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=done)
        if losses is not None:
            text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self._bar.update(self._task, losses=text)

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        # No markup: a file name may carry its label in brackets.
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()

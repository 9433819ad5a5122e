"""The log of a run: what its progress would show, with the time."""

from datetime import UTC, datetime
from pathlib import Path

from lpdseg.files import refused
from lpdseg.plain import one_line
from lpdseg.training.progress import Silent

LOG = "log.txt"


class Log(Silent):
    """A `Reporter` that appends to a file; lines are whole at any moment, so the file can be followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._total = 0

    def start(self, done: int, total: int) -> None:
        """Training starts or goes on."""
        self._total = total
        self.note(f"training goes on after step {done} of {total}" if done else f"training starts: {total} steps")

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """A line whenever losses are told."""
        if losses is not None:
            parts = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            self.note(f"step {done}/{self._total}  {parts}")

    def note(self, text: str) -> None:
        """A line of its own.

        **Raises:** `OutputError` where the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {one_line(text)}\n")
        except OSError as error:
            raise refused(self.path, error) from error

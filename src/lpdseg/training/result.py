"""How a training ended."""

from dataclasses import dataclass
from pathlib import Path

from lpdseg.durations import duration
from lpdseg.pictures.html import table_html


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    - `run`: its folder.
    - `steps`: how many are done, of `total`.
    - `miou`: best validation mIoU in per cent; None where nothing was validated.
    - `seconds`: spent in this call.
    """

    run: Path
    steps: int
    total: int
    miou: float | None
    seconds: float

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        rows = [
            ("run", self.run),
            ("steps", f"{self.steps:,} of {self.total:,}{', interrupted' if self.interrupted else ''}"),
            ("best validation mIoU", "not validated" if self.miou is None else f"{self.miou:.2f} %"),
            ("time", duration(self.seconds)),
        ]
        return table_html("a training", rows)

    @property
    def interrupted(self) -> bool:
        """Whether the run stopped before its last step."""
        return self.steps < self.total

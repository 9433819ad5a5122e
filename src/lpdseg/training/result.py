"""How a training ended."""

from dataclasses import dataclass
from pathlib import Path


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

    @property
    def interrupted(self) -> bool:
        """Whether the run stopped before its last step."""
        return self.steps < self.total

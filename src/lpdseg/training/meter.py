"""The losses between two reports: their means, and whether they are still numbers."""

import math
from collections.abc import Callable

from torch import Tensor

from lpdseg.errors import TrainingError


class Meter:
    """Running means of the losses, and the seconds `waited` for patches, of earlier calls as well."""

    def __init__(self, waited: float = 0.0) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self.waited = waited

    def wait(self, seconds: float) -> None:
        """Counts time spent waiting for patches."""
        self.waited += seconds

    def wait_share(self, seconds: float) -> float:
        """The share of `seconds` that was spent waiting."""
        return self.waited / max(seconds, 1e-9)

    def add(self, parts: dict[str, Tensor]) -> None:
        """Counts the losses of one step."""
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.float()
            self._counts[name] = self._counts.get(name, 0) + 1

    def drain(self, step: int, over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The means, which start anew."""
        self._sums = {name: over_processes(total) for name, total in self._sums.items()}
        self.check(step)
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def check(self, step: int) -> None:
        """Raises `TrainingError` where a loss was not a number since the last `drain`."""
        faulty = [name for name, total in self._sums.items() if not math.isfinite(float(total))]
        if faulty:
            term = next((name for name in faulty if name != "loss"), "loss")
            raise TrainingError(
                f"{term.replace('_', ' ')} is not a number any more (noticed at step {step}); training stopped and "
                "the last checkpoint is kept: lower train.lr, or use --set train.precision=32-true"
            )

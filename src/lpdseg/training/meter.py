"""What happens between two reports: means of the losses and whether they are numbers, speed and waiting."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lpdseg.errors import TrainingError


class Meter:
    """Running means of the losses."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

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


class Speed:
    """How fast steps follow one another, and how long the device has nothing to do for want of patches.

    Time on the CPU is that of this thread. A CUDA device works on while Python is ahead, so there two events tell
    when it ended a step and when it began the next: no time passes between them where that was queued already.
    What lies between `told` and the next `rest`, such as a validation, does not count.

    **Attributes:** `waited`: seconds in all, of earlier calls as well, as of when they were last `told`.
    """

    def __init__(self, device: torch.device, waited: float = 0.0) -> None:
        self.waited = waited
        self._events = device.type == "cuda"
        self._pauses: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._since: float | None = None
        self._steps, self._resting, self._rested = 0, 0.0, 0.0

    def rest(self) -> None:
        """A step is queued, and the patches of the next are asked for."""
        self._resting = time.monotonic()
        self._since = self._resting if self._since is None else self._since
        if self._events:
            self._pauses.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
            self._pauses[-1][0].record()

    def work(self) -> None:
        """Patches are here, and the next step begins."""
        self._steps += 1
        if self._events:
            self._pauses[-1][1].record()
        else:
            self._rested += time.monotonic() - self._resting

    def told(self) -> tuple[float, float]:
        """Steps per second and the share of waiting since last told; what was queued then must be done."""
        waited = self._rested + sum(ended.elapsed_time(began) for ended, began in self._pauses) / 1000
        seconds = max(1e-9, 0.0 if self._since is None else time.monotonic() - self._since)
        rate = self._steps / seconds
        self.waited += waited
        self._since, self._steps, self._rested, self._pauses = None, 0, 0.0, []
        return rate, min(1.0, waited / seconds)

"""How fast a slide goes, how long it will take, and whether the model waits for pixels."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """A reading of the meter.

    - `done`, `total`: windows.
    - `rate`: windows per second; 0 before the first.
    - `left`: seconds until all are done, at this rate; None before the first.
    - `waiting`: share of the model's time that it waited for pixels, in 0..1.
    """

    done: int
    total: int
    rate: float
    left: float | None
    waiting: float


class Meter:
    """Counts windows from the moment that it is made."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._began = time.monotonic()
        self._waited = self._busy = 0.0

    def begin(self, ago: float) -> None:
        """Counts from so many seconds ago."""
        self._began = time.monotonic() - ago

    def add(self, windows: int, waited: float, busy: float) -> Pace:
        """Counts windows that took `busy` seconds to compute, `waited` of them for pixels."""
        self.done += windows
        self._waited += waited
        self._busy += busy
        return self.pace()

    def pace(self) -> Pace:
        """The reading now."""
        seconds = time.monotonic() - self._began
        rate = self.done / seconds if seconds > 0 else 0.0
        left = (self.total - self.done) / rate if rate > 0 else None
        return Pace(self.done, self.total, rate, left, self._waited / self._busy if self._busy > 0 else 0.0)

"""How long something took, or will take, for people."""

import time
from collections.abc import Callable


def duration(seconds: float) -> str:
    """Seconds up to two minutes, minutes up to two hours, then hours and minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Pacer:
    """Says now and then how far something is: for logs, where no bar can be drawn over.

    **Arguments:**

    - `first`, `every`: seconds before the first answer, and between two.
    - `clock`: tells seconds.
    """

    def __init__(
        self, first: float = 10.0, every: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every, self._clock = every, clock
        self._next = clock() + first
        self._start: tuple[float, int] | None = None

    def start(self, done: int) -> None:
        """Work goes on after `done`; else that is what is told first."""
        self._start = self._clock(), done

    def tell(self, done: int, total: int) -> str | None:
        """`120/900, 12 min left`, or None while it is not yet time to say so again."""
        if self._start is None:
            self.start(done)
        assert self._start is not None
        now, (began, before) = self._clock(), self._start
        if now < self._next:
            return None
        self._next = now + self._every
        left = f", {duration((now - began) / (done - before) * (total - done))} left" if done > before else ""
        return f"{done}/{total}{left}"

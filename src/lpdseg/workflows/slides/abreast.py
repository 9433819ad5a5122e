"""Several slides at once: while one is computed, others are looked at for tissue, or become files."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_SLIDES = 4
"""Slides that are done at once, at most."""

LARGEST = 60_000
"""Pixels along a side of the largest slide measured; slides that are done at once share its room."""


class Ended(BaseException):
    """Raised in a thread whose slide nobody waits for any more."""


class Room:
    """Memory for slides that are done at once, in pixels along a side. A slide that is alone always finds room."""

    def __init__(self, most: int = LARGEST) -> None:
        self._free, self._held = most, 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, side: int) -> Iterator[None]:
        """Waits for room, and holds it inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or side <= self._free)
            self._held, self._free = self._held + 1, self._free - side
        try:
            yield
        finally:
            with self._changed:
                self._held, self._free = self._held - 1, self._free + side
                self._changed.notify_all()


def abreast(
    items: Sequence[Item], do: Callable[[Item, Callable[[], bool]], Result], most: int
) -> Generator[Result, None, None]:
    """What is done of each item, in order; up to `most` are done at once, in threads, or one after another in this.

    What is raised is raised in its place. Then, or when this generator is closed, the others are told to end, and
    waited for.

    **Arguments:**

    - `do`: is also given a function that tells whether all items before are done, and raises `Ended` once the item
      is not wanted any more.
    """
    if most <= 1:
        yield from (do(item, lambda: True) for item in items)
        return
    first, ended = 0, threading.Event()

    def asked(number: int) -> bool:
        if ended.is_set():
            raise Ended
        return number <= first

    running: deque[Future[Result]] = deque()
    left = enumerate(items)
    with ThreadPoolExecutor(most, "lpdseg-slide") as pool:
        try:
            while True:
                for number, item in islice(left, most - len(running)):
                    running.append(pool.submit(do, item, partial(asked, number)))
                if not running:
                    return
                yield running[0].result()
                running.popleft()
                first += 1
        finally:
            ended.set()
            for future in running:
                future.cancel()

"""Making things ahead: same items, bounded lead, faults in their place, and no thread left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from lpdseg.segment.slides.ahead import ahead


def test_the_same_items_in_the_same_order() -> None:
    assert list(ahead(iter(range(50)), 3)) == list(range(50))
    assert list(ahead(iter([None, None]), 1)) == [None, None]
    assert list(ahead(iter([]), 1)) == []


def test_it_is_ahead_but_not_by_more_than_allowed() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    given = ahead(items(), 3)
    assert next(given) == 0
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(made) == 5  # one taken, three ready, one in the hand
    given.close()


def test_a_fault_comes_after_what_was_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    given = ahead(items(), 3)
    assert next(given) == 1
    with pytest.raises(ValueError, match="broken"):
        next(given)


def test_who_leaves_early_leaves_no_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    given = ahead(items(), 2)
    next(given)
    given.close()
    assert closed.is_set() and threading.active_count() == before

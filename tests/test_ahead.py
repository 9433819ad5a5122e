import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.ahead import ahead
from lpdseg.errors import DataError


@pytest.fixture(autouse=True, scope="module")
def others() -> None:
    """Threads of other tests, which may keep what they caught and with it a thread."""
    _OTHERS[:] = threading.enumerate()


_OTHERS: list[threading.Thread] = []


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lpdseg-ahead" and thread not in _OTHERS]


@given(st.lists(st.integers()), st.integers(1, 4))
def test_the_order_is_kept_and_nothing_is_lost(batches: list[int], depth: int) -> None:
    assert list(ahead(iter(batches), depth)) == batches
    assert running() == []


def test_batches_are_made_before_they_are_asked_for_but_no_more_than_the_depth() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    found = ahead(batches(), 2)
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one was taken, two wait, one waits for room
    found.close()
    assert running() == []


def test_an_error_comes_where_its_batch_would_have_come() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise DataError("patch.png cannot be decoded")

    found = ahead(batches(), 2)
    assert next(found) == 1
    with pytest.raises(DataError, match=r"patch\.png"):
        next(found)
    assert running() == []


def test_what_is_closed_closes_what_it_takes_from() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    found = ahead(numbers(), 1)
    assert next(found) == 0
    found.close()
    assert closed.is_set() and running() == []

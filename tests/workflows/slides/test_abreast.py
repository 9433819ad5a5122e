"""Slides at once: results in order, faults in their place, nobody left behind, and bounded room."""

import threading
from collections.abc import Callable

import pytest

from lpdseg.errors import DataError
from lpdseg.workflows.slides.abreast import Ended, Room, abreast

SOON = 30.0


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lpdseg-slide")]


def test_results_come_in_order_though_later_ones_are_done_first() -> None:
    last = threading.Event()

    def do(item: int, is_first: Callable[[], bool]) -> int:
        if item == 2:
            last.set()
        assert last.wait(SOON)
        return item * 10

    assert list(abreast([0, 1, 2, 3], do, 3)) == [0, 10, 20, 30]
    assert running() == []


@pytest.mark.parametrize("most", [1, 2])
def test_a_fault_comes_in_its_place_and_ends_the_others(most: int) -> None:
    seen: list[int] = []
    ended: list[int] = []
    other = threading.Event()

    def do(item: int, is_first: Callable[[], bool]) -> int:
        seen.append(item)
        if item == 1:
            assert most == 1 or other.wait(SOON)
            raise DataError("slide 1 is damaged")
        if item == 2:
            other.set()
            try:
                while True:
                    is_first()
            except Ended:
                ended.append(item)
                raise
        return item

    found = abreast([0, 1, 2, 3], do, most)
    assert next(found) == 0
    with pytest.raises(DataError, match="slide 1 is damaged"):
        next(found)
    assert (seen, ended) == (([0, 1], []) if most == 1 else ([0, 1, 2], [2])) and running() == []


def test_only_the_first_that_is_not_done_is_first() -> None:
    told: list[tuple[int, bool]] = []
    asked = threading.Event()

    def do(item: int, is_first: Callable[[], bool]) -> int:
        assert item == 1 or asked.wait(SOON)
        told.append((item, is_first()))
        asked.set()
        return item

    assert list(abreast([0, 1], do, 2)) == [0, 1]
    assert told == [(1, False), (0, True)]


def test_closing_ends_what_goes_on() -> None:
    begun = threading.Event()

    def do(item: int, is_first: Callable[[], bool]) -> int:
        while item == 1:
            is_first()
            begun.set()
        return item

    found = abreast([0, 1], do, 2)
    assert next(found) == 0 and begun.wait(SOON)
    found.close()
    assert running() == []


def test_slides_share_the_room_of_the_largest_and_one_that_is_alone_finds_it() -> None:
    room, log, small = Room(100), list[str](), threading.Event()
    with room.of(500):
        log.append("large")

    def wait_for_room() -> None:
        small.set()
        with room.of(60):
            log.append("second")

    with room.of(60), room.of(40):
        other = threading.Thread(target=wait_for_room)
        other.start()
        assert small.wait(SOON)
        log.append("first")
    other.join(SOON)
    assert log == ["large", "first", "second"]

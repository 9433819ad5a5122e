"""Making things ahead of whoever takes them: batches while the model trains, pixels while it predicts."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


def ahead(items: Iterator[Item], most: int) -> Generator[Item, None, None]:
    """The same items in the same order, made by a thread that is at most `most` items ahead.

    What `items` raises is raised here, in its place. When this generator is closed the thread ends, and `items` is
    closed with it.
    """
    ready: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(most)
    left = threading.Event()

    def put(item: tuple[Item] | BaseException | None) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=_POLL_SECONDS)
                return

    def make() -> None:
        try:
            for item in items:
                put((item,))
                if left.is_set():
                    return
            put(None)
        except BaseException as error:  # raised again by whoever takes the items
            put(error)
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=make, daemon=True, name="lpdseg-ahead")
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        left.set()
        thread.join()

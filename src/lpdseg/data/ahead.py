"""The next batches, made while the model is at work with the last one."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

import torch

Batch = TypeVar("Batch")

_END = object()


def ahead(batches: Iterable[Batch], depth: int = 2) -> Iterator[Batch]:
    """The same batches in the same order, up to `depth` of them made beforehand by a thread.

    An exception in that thread is raised where its batch would have come. Closing the iterator ends the thread.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    closed = threading.Event()

    def make() -> None:
        torch.set_num_threads(1)  # of this thread alone, so that it leaves the other cores to the model
        try:
            for batch in batches:
                if not _put(ready, batch, closed):
                    return
            _put(ready, _END, closed)
        except BaseException as error:  # whatever it is, it belongs to whoever waits for the batch
            _put(ready, _Failed(error), closed)

    thread = threading.Thread(target=make, daemon=True, name="lpdseg-batches")
    thread.start()
    try:
        while (batch := ready.get()) is not _END:
            if isinstance(batch, _Failed):
                raise batch.error
            yield batch  # type: ignore[misc]
    finally:
        closed.set()
        with suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()


class _Failed:
    """What the thread met instead of a batch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _put(ready: queue.Queue[object], item: object, closed: threading.Event) -> bool:
    """Waits for room; False where nobody wants the item any more."""
    while not closed.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=0.1)
            return True
    return False

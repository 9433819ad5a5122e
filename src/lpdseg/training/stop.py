"""Being asked to stop: the step at hand is finished first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event instead of breaking a step in two; a second Ctrl-C breaks at once.

    That a loader process has ended is told by what fetches patches, between steps; a handler of PyTorch's, which is
    there where somebody has used loaders before, would raise in the middle of one.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGCHLD"):
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def leave_signals_to_the_parent(worker: int) -> None:
    """For loader processes: a terminal or scheduler signals the whole group, and the parent is who decides."""
    del worker
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)

"""Ctrl-C, told with what is left of the work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(Exception):  # noqa: N818 - stopping is what the user asked for, and no error
    """The user stopped the command; the message says what is kept and how to go on."""

    exit_code = 130


@contextmanager
def told_what_is_left(left: Callable[[], str]) -> Iterator[None]:
    """Turns Ctrl-C inside the block into `Stopped` with what `left` says then."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(left()) from error

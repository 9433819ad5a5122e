"""Keeping libraries from talking over the program: their chatter is hidden, their warnings and errors are not."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

# What each library says at the level below is news of its own settings ("Using bfloat16 …"), not of a fault.
_LEVELS = {"lightning_fabric": logging.WARNING, "transformers": logging.ERROR}


@contextmanager
def quiet() -> Iterator[None]:
    """Raises the libraries' log levels inside the block, and puts them back."""
    before = {name: logging.getLogger(name).level for name in _LEVELS}
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(max(level, before[name]))
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

"""Keeping libraries from talking over the program: their chatter is hidden, their warnings and errors are not."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# What each library says at the level below is news of its own settings ("Using bfloat16 …"), not of a fault.
_LEVELS = {"lightning_fabric": logging.WARNING, "transformers": logging.ERROR}


_open: list[dict[str, int]] = []
"""The levels that each open `quiet` puts back, outermost first."""


@contextmanager
def quiet() -> Iterator[None]:
    """Raises the libraries' log levels inside the block, and puts them back."""
    before = {name: logging.getLogger(name).level for name in _LEVELS}
    _open.append(before)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(max(level, before[name]))
    try:
        yield
    finally:
        _open.pop()
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def library(name: str) -> Any:
    """Imports `transformers` or `lightning_fabric`, which set their own log levels then, and keeps them quiet."""
    with warnings.catch_warnings():  # both import tqdm, which in notebooks asks for widgets that nothing here needs
        warnings.filterwarnings("ignore", message="IProgress not found")
        module, logger = import_module(name), logging.getLogger(name)
    if _open and logger.level < _LEVELS[name]:
        for before in _open:
            before[name] = logger.level if before is _open[0] else _LEVELS[name]
        logger.setLevel(_LEVELS[name])
    return module

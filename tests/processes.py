"""Programs that a test starts and that end with it, however it ends."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def program(words: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Starts it as `subprocess.Popen`; it is killed where it still runs at the end, and its pipes are closed.

    A program left behind by a test that fails would be told of in some later test, whichever that is.
    """
    with subprocess.Popen(words, **options) as found:
        try:
            yield found
        finally:
            found.kill()

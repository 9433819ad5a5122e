"""One process at a time for a slide: two would take one another's temporary files for leftovers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lpdseg.errors import OutputError


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Holds a lock file inside the block, and removes it afterwards. It ends with the process, however that ends.

    Where the system has no such locks (Windows) nothing is locked.

    **Raises:** `OutputError` where another process holds it, or it cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while handle is None:
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(opened)
                raise OutputError(
                    f"another process is segmenting this slide ({path} is locked); wait for it, or give each job "
                    "slides of its own with --shard"
                ) from error
            if path.exists() and os.fstat(opened).st_ino == path.stat().st_ino:
                handle = opened
            else:  # the one before has just removed it
                os.close(opened)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror}); free space, change rights or choose another folder"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)

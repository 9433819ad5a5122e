"""Locks between processes: files that hold them until they are closed, or the process ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NONE = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}
"""What file systems without locks answer."""


def lock(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """An open file with a lock on it that ends when it is closed; None where others have it and `wait` is false.

    Where the system (Windows) or the file system, as some of clusters, has no such locks nothing is locked.

    **Raises:** `OSError` where the file cannot be made.
    """
    handle = _opened(path)
    try:
        import fcntl

        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except ImportError:
        return handle
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _NONE:
            return handle
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return handle


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)  # another user's, which is locked as well as one's own


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this process alone has the lock, inside the block.

    **Raises:** `OSError` where the file cannot be made.
    """
    handle = lock(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)

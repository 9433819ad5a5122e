"""One process at a time for a slide: two would take one another's temporary files for leftovers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.locks import lock


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Holds a lock file inside the block, and removes it afterwards. It ends with the process, however that ends.

    **Raises:** `OutputError` where another process holds it, or it cannot be made.
    """
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while handle is None:
            opened = lock(path, wait=False)
            if opened is None:
                raise OutputError(
                    f"another process is segmenting this slide ({path} is locked); wait for it, or give each job "
                    "slides of its own with --shard"
                )
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
        with suppress(PermissionError):  # Windows keeps files that are open
            path.unlink(missing_ok=True)
        os.close(handle)

"""One process at a time for a folder or a slide: two would write over one another's files, and take one another's
temporary files for leftovers."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.files import is_there, refused
from lpdseg.locks import lock
from lpdseg.temporary import sweep

LOCK = ".lock"
"""Of a folder that a process has for itself."""


class BusyError(OutputError):
    """Another process is at work there."""


@contextmanager
def only_one(path: Path, busy: str | None, of: Path | None = None) -> Iterator[None]:
    """Holds a lock file inside the block, and removes it afterwards, with folders that were made for it and are
    empty. It ends with the process, however that ends.

    **Arguments:**

    - `of`: what is locked so; people are told of it in place of the lock.

    **Raises:** `BusyError`, with the sentence `busy`, where another process holds it, or None waits for that;
    `OutputError` where it cannot be made.
    """
    handle: int | None = None
    made = [folder for folder in path.parents if not is_there(folder)]
    try:
        while handle is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = lock(path, wait=busy is None)
            if opened is None:
                raise BusyError(busy)
            if _is_at(opened, path):
                handle = opened
            else:  # the one before has just removed it
                os.close(opened)
    except OSError as error:
        raise refused(of or path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps files that are open, and others' folders theirs
            path.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def _is_at(opened: int, path: Path) -> bool:
    try:
        return os.fstat(opened).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


@contextmanager
def alone_in(folder: Path, doing: str, below: Iterable[str] = ()) -> Iterator[None]:
    """Has a folder to itself inside the block, without what killed processes left there.

    **Arguments:**

    - `doing`: what another process does that is at work there, such as `training`.
    - `below`: folders in it that are swept as well, with all below them.

    **Raises:** `OutputError` where another process is at work in it, or it cannot be made.
    """
    busy = f"another process is {doing} in {folder}; wait for it, or choose another folder"
    with only_one(folder / LOCK, busy, folder):
        sweep(folder, alone=True)
        for name in below:
            for path, _, _ in os.walk(folder / name):
                sweep(Path(path), alone=True)
        yield


@contextmanager
def alone_making(folder: Path) -> Iterator[None]:
    """Is alone in making a folder that is replaced as a whole, without what killed processes left beside it.

    **Raises:** `OutputError` where another process is making it, or its lock cannot be made.
    """
    busy = f"another process is writing {folder}; wait for it"
    with only_one(folder.with_name(f".{folder.name}.lock"), busy, folder):
        sweep(folder.parent)
        yield

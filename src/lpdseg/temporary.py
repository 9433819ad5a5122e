"""Names of files that are being written: they tell which process writes them, so that the leftovers of one that was
killed are known from what a living one is at."""

import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

_NAME = re.compile(
    r"\.(?P<of>.+)\.(?P<machine>[0-9a-f]{6})(?P<process>[0-9a-f]{6,8})[0-9a-f]{4}\.(?P<kind>tmp|old)(\.[^.]*)?"
)
_LONG = 24 * 3600.0
"""Seconds after which nobody is writing a file any more that a process elsewhere began."""

_SWEPT: set[Path] = set()


def make_beside(path: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """A new temporary beside `path`, with the rights that new files have.

    What `tempfile` makes only its owner may read, and the mask of rights cannot be asked for without being changed,
    for all threads. What killed processes left in the folder is removed first, once in the life of this process.
    """
    if path.parent not in _SWEPT:
        _SWEPT.add(path.parent)
        sweep(path.parent)
    while True:
        maker = f"{_machine()}{os.getpid():06x}{secrets.token_hex(2)}"
        temporary = path.with_name(f".{path.name}.{maker}{suffix}")
        with suppress(FileExistsError):
            make(temporary)
            return temporary


def leftover_of(left: Path, path: Path) -> bool:
    """Whether a file or folder beside `path` is a temporary one that was to become it, or its copy of before."""
    rest = left.name.removeprefix(f".{path.name}")
    return left.name != rest and re.fullmatch(r"\.[^.]+\.(tmp(\.[^.]*)?|old)", rest) is not None


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Removes what killed processes left unfinished in a folder; those below are not looked into.

    A copy of before stays where what it is of is not there, see `lpdseg.files.recover_folder`.

    **Arguments:**

    - `alone`: no process of another machine writes there now. Otherwise what theirs left stays for a day.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(".")]
    except OSError:
        return
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None or (found["kind"] == "old" and not (folder / found["of"]).exists()):
            continue
        with suppress(OSError):
            if _is_left(folder / name, found["machine"], int(found["process"], 16), alone):
                remove(folder / name)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it, as far as the rights go."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_left(path: Path, machine: str, process: int, alone: bool) -> bool:
    if machine == _machine() and os.name == "posix":  # elsewhere a process cannot be asked without being disturbed
        return not _lives(process)
    return alone or time.time() - path.lstat().st_mtime > _LONG


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@lru_cache
def _machine() -> str:
    """Tells machines, and containers of one, in which other processes have the same numbers."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return sha256(f"{platform.node()} {space}".encode()).hexdigest()[:6]

"""Writing files so that a reader never meets half of one: a temporary name first, then a rename."""

import errno
import glob
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from lpdseg.errors import OutputError
from lpdseg.plain import ESCAPED, name_key, plain_text, plain_values
from lpdseg.temporary import leftover_of, make_beside

_ADVICE = {
    errno.ENOSPC: "free space or ",
    errno.EDQUOT: "free space or ",
    errno.EACCES: "change its rights or ",
    errno.EPERM: "change its rights or ",
    errno.ENAMETOOLONG: "choose a shorter name or ",
}
"""What helps, besides another folder, by the system's reason."""


MOST_TEXT = 1 << 26
"""Bytes of the largest description that is read."""

MOST_TABLE = 1 << 28
"""Of a CSV of patches or slides."""

_MOST_VALUES = 1 << 22
"""Of a JSON text, by the marks between them: each takes some 100 bytes once it is read."""

NAME_IT = "choose a shorter one"
"""What helps where people have chosen a name that is too long."""

_LONGEST = 255
"""Bytes that names may have on most systems."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; when the block ends well the file written there becomes `path`.

    When the block fails the temporary file is removed and `path` stays as it was. Parents are made.

    **Raises:** `OutputError` where the operating system refuses (full disk, no permission).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = make_beside(path, f".tmp{path.suffix}", lambda made: made.touch(exist_ok=False))
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def replacing_apart(path: Path) -> Iterator[Path]:
    """As `replacing`, for a library that puts a temporary of its own beside what it writes: both lie in a temporary
    folder, and go with it where the process is killed.

    **Raises:** `OutputError` as `replacing`.
    """
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = make_beside(path, ".tmp", Path.mkdir)
        yield folder / path.name
        (folder / path.name).replace(path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path`; when the block ends well it becomes `path`.

    A folder that `path` was before is removed then. When the block fails the temporary folder is removed and `path`
    stays as it was. Parents are made. Where a process was ended between the two renames, the folder of before is
    put back first.

    **Raises:** `OutputError` where the operating system refuses (full disk, no permission).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(path)
        temporary = make_beside(path, ".tmp", Path.mkdir)
        yield temporary
        # A folder that is not empty cannot be replaced in one step.
        before = temporary.with_suffix(".old")
        if path.exists():
            path.rename(before)
        try:
            temporary.rename(path)
        except OSError:
            if before.exists():
                _put_back(before, path)
            raise
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Puts back what a folder was before, where a process was ended just before its new content got the name."""
    if path.exists():
        return
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if leftover_of(left, path):
            left.rename(path)
            return


def _put_back(before: Path, path: Path) -> None:
    try:
        before.rename(path)
    except OSError as error:
        raise OutputError(
            f"{path} could not be replaced, and what it held is now in {before}; rename that to {path.name} "
            f"({error.strerror})"
        ) from error


def check_name(
    path: Path, remedy: str = "shorten the name of what it is made from", *, folder: bool = False
) -> None:
    """Fails for a name that is too long to be written by `replacing`, before the work for it is done; and where one
    of the folders above it has such a name.

    **Arguments:**

    - `folder`: it is a folder that is filled in its place, and needs no room for a temporary name.

    **Raises:** `OutputError`.
    """
    longest = _LONGEST
    there = next((one for one in path.absolute().parents if is_there(one)), None)
    with suppress(OSError, ValueError, AttributeError, TypeError):
        longest = os.pathconf(there, "PC_NAME_MAX")  # type: ignore[arg-type]
    name = path.name if folder else f".{path.name}.{'0' * 16}.tmp{path.suffix}"
    for whose, one in (*(("that of a folder above it", part) for part in path.parts[:-1]), ("its name", name)):
        if (over := len(os.fsencode(one)) - longest) > 0:
            raise OutputError(f"cannot write {path}: {whose} is {over} bytes too long; {remedy}")


def refused(path: Path | str, error: OSError, otherwise: str = "choose another folder") -> OutputError:
    """The sentence for what the operating system refuses to write: its reason, and what helps with that.

    **Arguments:**

    - `otherwise`: what helps whatever the reason is.
    """
    reason = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0, "")
    return OutputError(f"cannot write {path}: {reason}; {advice}{otherwise}")


def absolute(path: Path) -> str:
    """Where a file is, from the root, without looking for links: what a table or a record calls it."""
    return plain_text(os.path.normpath(path.absolute()))


def result_name(stem: str) -> str:
    """What results of an input are called after it: never a hidden name, which every search passes over, and never
    `.` or `..`, which stand for folders.
    """
    shown = stem.lstrip(".")
    return "_" * (len(stem) - len(shown)) + shown


def is_there(path: Path) -> bool:
    """Whether something is there; nothing is by a name that no system can have, as strangers' files may tell."""
    return os.path.exists(path)  # noqa: PTH110 - that of a Path raises for such names


def as_on_disk(path: Path) -> Path:
    """The path or, where nothing is there, one whose names are spelt otherwise; see `name_key`."""
    if path == path.parent or (str(path).isascii() and "\\x" not in str(path)) or os.path.lexists(path):
        return path
    parent = as_on_disk(path.parent)
    try:
        names = _names_in(parent, parent.stat().st_mtime_ns)
    except (OSError, ValueError):  # the latter of names that no system can have
        return path
    return parent / names.get(name_key(path.name), path.name)


@lru_cache(maxsize=64)
def _names_in(folder: Path, modified: int) -> dict[str, str]:
    return {name_key(path.name): path.name for path in folder.iterdir()}


def why_neither(path: Path) -> str:
    """What is said of a name of no file and no folder: `does not exist`, or that it is a pipe or a device."""
    return "is a pipe or a device, and no file" if path.exists() else "does not exist"


def open_file(path: Path) -> BufferedReader:
    """Opens a file for reading. A pipe, for which one would wait, and a device, which need not end, are none.

    **Raises:** `OSError`.
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - that of a Path takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: Path, most: int = MOST_TEXT, errors: str = "strict") -> str:
    """A file's text.

    **Arguments:**

    - `errors`: what becomes of bytes that are no UTF-8, see `open`.

    **Raises:** `OSError`; `ValueError` for a file that has more than `most` bytes, which are not read, or no UTF-8.
    """
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return content.decode("utf-8", errors)


def read_json(path: Path) -> Any:
    """What a JSON file holds, in texts that every file and terminal can hold.

    **Raises:** `OSError`; `ValueError` as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """As `read_json`, from its text.

    **Raises:** `ValueError` for what is no JSON, nested too deeply, or has very many values.
    """
    if sum(text.count(mark) for mark in ",[{") > _MOST_VALUES:
        raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
    try:
        return plain_values(json.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all; bytes of file names that are no UTF-8 as in `plain_text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPED)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN is refused with a `ValueError`."""
    write_text(path, json.dumps(plain_values(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

"""What a command may write over: no file that it reads, and none that it has not written before.

What commands write says what it is: pages, figures and graphs by a mark, JSON and CSV by names that they hold.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.files import NAME_IT, check_name

WRITER = "lpdseg"
"""Who wrote it: the `generator` of pages, `Software` or `Creator` of figures."""

_MOST_BYTES = 1 << 28
_ENDS = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A kind of file that a command writes: how people call it, and how one of it is known."""

    name: str
    knows: Callable[[Path], bool]


def json_of(name: str, *keys: str) -> Kind:
    """JSON of a mapping that has these keys, or of a list of such."""

    def knows(path: Path) -> bool:
        if path.stat().st_size > _MOST_BYTES:
            return False
        found = json.loads(path.read_text(encoding="utf-8"))
        first = found[0] if isinstance(found, list) and found else found
        return isinstance(first, dict) and first.keys() >= set(keys)

    return Kind(name, knows)


def csv_of(name: str, *columns: str) -> Kind:
    """A CSV with a header that has these columns."""

    def knows(path: Path) -> bool:
        with path.open(encoding="utf-8", newline="") as file:
            return set(columns) <= set(next(csv.reader([file.readline(_ENDS)]), []))

    return Kind(name, knows)


def marked(name: str, *marks: bytes) -> Kind:
    """A file that has one of the marks in its first or last MiB."""

    def knows(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(_ENDS)
            file.seek(max(len(head), path.stat().st_size - _ENDS))
            ends = head + file.read()
        return any(mark in ends for mark in marks)

    return Kind(name, knows)


CHECK = json_of("report of a data set's check", "ok", "source", "classes", "patches", "errors", "warnings")
RECORDS = json_of("list of records of an evaluation", "split", "gate", "background", "miou", "confusion")
COVERAGE = json_of("measures of prototypes", "masks", "prototypes", "dead", "classes")
RECORD_ROWS = csv_of("table of records", "split", "gate", "background", "miou", "images")
PATCH_ROWS = csv_of("table of patches", "patch", "patient", "split", "pixels", "error", "confused")
PATIENT_ROWS = csv_of("table of patients", "patient", "patches", "pixels", "miou", "error")
PAGE = marked(
    "page of this package (those of version 0.1 do not say that they are)",
    f'<meta name="generator" content="{WRITER}">'.encode(),
)
FIGURE = marked(
    "figure of this package",
    *(text.encode() for text in (f"Software\0{WRITER}", f"<dc:title>{WRITER}<", f"/Creator ({WRITER})")),
)
GRAPH = marked("graph that this command has written", b"lpdseg_recipe")
RUN = json_of("record of a run", "status", "settings", "data", "versions")
SEGMENTED = json_of("record of segmented patches", "status", "classes", "predict", "images")


def check_outputs(outputs: Sequence[tuple[Path | None, Kind]], inputs: Iterable[Path | str | None] = ()) -> None:
    """Whether a command may write these files; None of each says that it is not asked for.

    **Arguments:**

    - `inputs`: what it reads, files and folders; what is None, or not there, is passed over.

    **Raises:** `OutputError` for one that is an input, whatever links or spellings lead there, a folder, a file
    that this command has not written, or the same file twice.
    """
    read = [Path(one) for one in inputs if one is not None]
    asked = [(path, kind) for path, kind in outputs if path is not None]
    for number, (path, kind) in enumerate(asked):
        if any(_same(path, other) for other, _ in asked[:number]):
            raise OutputError(f"{path} is named for two outputs, of which one would be lost; name another for each")
        if any(_same(path, one) for one in read):
            raise OutputError(f"{path} is what this command reads, and would be written over; choose another name")
        check_file(path, kind)


def check_file(path: Path, kind: Kind) -> None:
    """Whether a file may be written: it can have its name, and is not there, empty, or of the kind that is written.

    **Raises:** `OutputError`.
    """
    check_name(path, NAME_IT)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if not is_known(path, kind) and os.path.lexists(path) and path.exists():
        raise OutputError(f"{path} is there already and is no {kind.name}; remove it, or choose another name")


def is_known(path: Path, kind: Kind) -> bool:
    """Whether a file is there and of a kind, or empty, so that nothing is lost with it."""
    try:
        return path.is_file() and (path.stat().st_size <= 1 or kind.knows(path))
    except (OSError, ValueError, csv.Error, RecursionError):
        return False


def _same(path: Path, other: Path) -> bool:
    """Whether two names are of one file, also through links, hard ones as well, `..`, and another case."""
    try:
        return path.samefile(other)
    except OSError:
        return path.resolve() == other.resolve()

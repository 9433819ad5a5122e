"""Tables of results that remember earlier runs."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lpdseg.errors import OutputError
from lpdseg.files import MOST_TABLE, read_text, write_text
from lpdseg.plain import plain_text


def read_table(path: Path, key: str) -> dict[str, dict[str, str]]:
    """The rows of an earlier table by their cell `key`; none where there is no table, or an empty one.

    **Raises:** `OutputError` for a file that is no such table, which would be lost.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, MOST_TABLE), newline=""))
        names, rows = list(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(f"{path} cannot be read ({error}); move it away, or choose another folder") from error
    if (names or rows) and key not in names:
        raise OutputError(
            f"{path} has a row per {next(iter(names), 'nothing')}, and this run would write one per {key}; choose "
            "another folder for it"
        )
    return {row[key]: {name: row[name] or "" for name in row if name is not None} for row in rows if row[key]}


def write_table(path: Path, key: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV of `rows`, and of those of the table that is there whose `key` is none of theirs, by `key`.

    Columns that only earlier rows have come last.

    **Raises:** `OutputError`.
    """
    known = {plain_text(str(row[key])): row for row in rows}
    kept = {name: row for name, row in read_table(path, key).items() if name not in known}
    more = dict.fromkeys(
        name for row in kept.values() for name, cell in row.items() if cell and name not in columns
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *more], restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row in sorted((kept | known).items()))
    write_text(path, text.getvalue())

"""What a run has seen of its data, file by file: a later change can be told by name."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lpdseg.errors import CheckpointError
from lpdseg.files import MOST_TABLE, read_text, write_text

SEEN = "data.csv"
"""Of a run's folder: what `Manifest.entries` gave, digests cut short."""

_COLUMNS = ("image", "labels", "split", "sha256", "mask", "mask_sha256")
_DIGITS = 16
"""Of a digest: enough to tell a change; the fingerprint of the whole has all."""


def keep_seen(run: Path, entries: Iterable[Sequence[str]]) -> None:
    """Writes them into the folder of a run.

    **Raises:** `OutputError` where that cannot be.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_short(entries))
    write_text(run / SEEN, text.getvalue())


def read_seen(run: Path) -> list[tuple[str, ...]] | None:
    """What was written; None in runs of earlier versions.

    **Raises:** `CheckpointError` for a file that cannot be read.
    """
    path = run / SEEN
    try:
        rows = list(csv.reader(io.StringIO(read_text(path, MOST_TABLE))))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; restore it, or delete it") from error
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise CheckpointError(f"{path} is not the list of files that `train` wrote; restore it, or delete it")
    return [tuple(row) for row in rows[1:]]


def changes(before: Iterable[Sequence[str]], now: Iterable[Sequence[str]]) -> Iterator[str]:
    """What is said of each patch that is not as it was; `now` is what `Manifest.entries` gives."""
    then, here = ({row[0]: tuple(row) for row in rows} for rows in (before, _short(now)))
    for name in sorted(then.keys() | here.keys()):
        if name not in here:
            yield f"{name} is missing"
        elif name not in then:
            yield f"{name} is new"
        else:
            yield from _differences(then[name], here[name])


def _differences(then: tuple[str, ...], here: tuple[str, ...]) -> Iterator[str]:
    name, mask = then[0], then[4] or here[4]
    if then[1:3] != here[1:3]:
        yield f"{name} has labels {here[1]} in the split {here[2]}, and had {then[1]} in {then[2]}"
    if then[3] != here[3]:
        yield f"the image {name} has changed"
    if then[4:] != here[4:]:
        what = "is missing" if not here[4] else "is new" if not then[4] else "has changed"
        yield f"the mask {mask} {what}"


def _short(entries: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Rows of six, digests cut."""
    rows = (tuple(row) + ("",) * (len(_COLUMNS) - len(row)) for row in entries)
    return [(*row[:3], row[3][:_DIGITS], row[4], row[5][:_DIGITS]) for row in rows]

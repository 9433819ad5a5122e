"""The manifest on disk: a CSV with one line per patch.

Its columns are `path`, `split`, `patient`, `mask`, optionally `mpp` and `subtype`, and one 0/1 column per class
with the class's name. Paths are relative to the CSV's folder. `classes.yaml` beside it holds colours and mask
values.
"""

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from io import BufferedReader, TextIOWrapper
from pathlib import Path

from lpdseg.data.classes_file import read_classes, write_classes
from lpdseg.data.columns import BITS, NUMBERS, Column, classes_of_columns
from lpdseg.data.labels import can_be_mpp, known_patient, mpp_from_name, patient_from_name
from lpdseg.data.layout import split_of
from lpdseg.data.records import SPLITS, Manifest, PatchRecord, path_below, require_class, sorted_records
from lpdseg.errors import DataError
from lpdseg.files import MOST_TABLE, as_on_disk, open_file, write_text
from lpdseg.schema import SCALES
from lpdseg.tissue import TissueClasses

__all__ = [
    "MANIFEST_FILE",
    "SPLITS",
    "Manifest",
    "PatchRecord",
    "read_manifest",
    "write_manifest",
]

MANIFEST_FILE = "manifest.csv"

_KNOWN_COLUMNS = ("path", "split", "patient", "mask", "mpp", "subtype")
_OPTIONAL = ("mpp", "subtype")

_LONGEST = 1 << 20
"""Letters of a line."""

_MOST_COLUMNS, _MOST_PATCHES = 1000, 1_000_000


def write_manifest(manifest: Manifest, csv_path: Path) -> None:
    """Writes the CSV, and `classes.yaml` beside it; paths below the CSV's folder become relative to it.

    **Raises:** `DataError` for a class whose name is one of the fixed columns.
    """
    check_names(manifest.classes, csv_path)
    known = {name for record in manifest.records for name in _OPTIONAL if getattr(record, name) is not None}
    optional = [name for name in _OPTIONAL if name in known]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *manifest.classes.names, "split", "patient", "mask", *optional])
    folder = csv_path.parent
    for record in manifest.records:
        labels: Sequence[int | str] = [""] * len(manifest.classes) if record.labels is None else record.labels
        mask = "" if record.mask is None else path_below(record.mask, folder)
        patient = record.patient if record.patient_known else ""  # guessed again, and not told for sure
        cells = (getattr(record, name) or "" for name in optional)
        writer.writerow([path_below(record.path, folder), *labels, record.split, patient, mask, *cells])
    write_classes(manifest.classes, folder)
    write_text(csv_path, text.getvalue())


def check_names(classes: TissueClasses, csv_path: Path) -> None:
    """Refuses classes that a manifest could not have.

    **Raises:** `DataError` for a class whose name is one of the fixed columns.
    """
    clash = [name for name in classes.names if name.lower() in _KNOWN_COLUMNS]
    if clash:
        raise DataError(f"a class cannot be named {clash[0]!r} in {csv_path}: that is a column of its own")


def read_manifest(
    csv_path: Path, classes: TissueClasses | None = None, presumed: TissueClasses | None = None
) -> Manifest:
    """Reads a manifest CSV; whether its files exist is for whoever opens them to find out.

    **Arguments:**

    - `csv_path`: the CSV, comma-separated UTF-8 with a header.
    - `classes`: the tissue classes; by default those of `classes.yaml` beside the CSV, else the preset with
      the same names in the same order, else the columns that can be classes, see `classes_of_columns`. The
      manifest's `notes` name columns that are not taken for classes.
    - `presumed`: the tissue classes where there is no `classes.yaml`.

    **Raises:** `DataError` that names the file and the line, for anything missing, repeated or out of range.
    """
    rows = csv_rows(csv_path)
    _, header = next(rows, (1, []))
    if not header:
        raise DataError(f"{csv_path} is empty; write a header and one line for each image")
    if len(header) > _MOST_COLUMNS:
        raise DataError(
            f"{csv_path}, line 1: the header has {len(header):,} columns, of {_MOST_COLUMNS:,} at most; leave out "
            "those that are no classes"
        )
    header = [name.lower() if name.lower() in _KNOWN_COLUMNS else name for name in header]
    for column in ("path", "split"):
        if column not in header:
            raise DataError(f"{csv_path}, line 1: no column {column!r}; the header must be comma-separated")
    if header[0] == "":  # how data frames are written with their index
        header[0] = NUMBERS
    if len(set(header)) != len(header) or "" in header:
        raise DataError(f"{csv_path}, line 1: columns need different, non-empty names; got {', '.join(header)}")
    lines = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{csv_path}, line {line}: {len(cells)} cells, but the header has {len(header)} columns"
            )
        lines.append((line, dict(zip(header, cells, strict=True))))
        if len(lines) > _MOST_PATCHES:
            raise DataError(f"{csv_path} lists more than {_MOST_PATCHES:,} patches; split it")
    if not lines:
        raise DataError(f"{csv_path} lists no patches; add one line for each image")
    columns = [
        Column.of(name, [cells[name] for _, cells in lines]) for name in header if name not in _KNOWN_COLUMNS
    ]
    classes, notes = classes_of_columns(csv_path, columns, classes or read_classes(csv_path.parent) or presumed)
    records: list[PatchRecord] = []
    listed: dict[Path, int] = {}
    for line, row in lines:
        where = f"{csv_path}, line {line}"
        record = _record(row, classes, csv_path.parent, where)
        if record.path in listed:
            raise DataError(f"{where}: {record.path} is already on line {listed[record.path]}; keep one of the two")
        listed[record.path] = line
        records.append(record)
    return Manifest(classes, sorted_records(records), csv_path, notes)


def csv_rows(csv_path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the lines that are not blank."""
    try:
        # Spreadsheets put a byte-order mark in front; utf-8-sig drops it.
        with open_file(csv_path) as file:
            reader = csv.reader(_lines(file), strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
    except OSError as error:
        raise DataError(f"cannot read {csv_path}: {error.strerror}; check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{csv_path} is no comma-separated UTF-8 file: {error}; save it again as such") from error


def _lines(file: BufferedReader) -> Iterator[str]:
    """The lines of a CSV, of bounded length.

    **Raises:** `DataError` for too many bytes as a whole, `csv.Error` for too many without a line break.
    """
    size = os.fstat(file.fileno()).st_size
    if size > MOST_TABLE:
        raise DataError(
            f"{file.name} has {size >> 20:,} MiB, and a table has {MOST_TABLE >> 20} at most; leave out "
            "columns that are not read, or make several of it"
        )
    with TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        while line := text.readline(_LONGEST):
            if len(line) == _LONGEST and not line.endswith(("\n", "\r")):
                raise csv.Error(f"it has a line of more than {_LONGEST:,} letters")
            yield line


def _record(cells: dict[str, str], classes: TissueClasses, folder: Path, where: str) -> PatchRecord:
    """One line as a record."""
    if not cells["path"]:
        raise DataError(f"{where}: the cell `path` is empty")
    path = _path(cells["path"], folder)
    split = split_of(cells["split"])
    if split is None:
        raise DataError(f"{where}: {cells['split']!r} is no split; use {', '.join(SPLITS)}")
    record = PatchRecord(
        path=path,
        labels=_labels(cells, classes, where),
        split=split,
        patient=cells.get("patient") or patient_from_name(path),
        mask=_path(cells["mask"], folder) if cells.get("mask") else None,
        mpp=_mpp(cells["mpp"], where) if cells.get("mpp") else mpp_from_name(path),
        patient_known=bool(cells.get("patient")) or known_patient(path) is not None,
        subtype=cells.get("subtype") or None,
    )
    require_class(record, classes, where)
    return record


def _path(text: str, folder: Path) -> Path:
    """A path told relative to the CSV's folder; `a/../b` and `b` are the same file."""
    return as_on_disk(Path(os.path.normpath(folder / text)))


def _labels(cells: dict[str, str], classes: TissueClasses, where: str) -> tuple[int, ...] | None:
    """0 or 1 for each class, or None where all label cells are empty."""
    if not any(cells.get(name) for name in classes.names):
        return None
    for name in classes.names:
        if cells[name] not in BITS:
            raise DataError(f"{where}, column {name!r}: {cells[name]!r} is no label; write 0 or 1")
    return tuple(BITS[cells[name]] for name in classes.names)


def _mpp(text: str, where: str) -> float:
    """Microns per pixel, as an image may have."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not can_be_mpp(value):
        least, most = SCALES
        raise DataError(
            f"{where}, column 'mpp': {text!r} is no microns per pixel, {least:g} to {most:,.0f}; correct it"
        )
    return value

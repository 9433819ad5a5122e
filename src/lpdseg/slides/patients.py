"""Whose slides they are, where a table of slides tells."""

from collections.abc import Sequence
from pathlib import Path

from lpdseg.data.manifest import csv_rows
from lpdseg.errors import DataError
from lpdseg.plain import name_key


def read_patients(inputs: Sequence[str | Path]) -> dict[str, str]:
    """Patients by the `name_key` of their slides' stems, from the column `patient` of the CSVs among `inputs`; see
    `lpdseg.slides.slide_table`. Empty cells, and CSVs without the column, tell nothing.

    **Raises:** `DataError` for a CSV that is none, and for a slide with two patients.
    """
    patients: dict[str, str] = {}
    for source in map(Path, inputs):
        if source.suffix.lower() != ".csv" or not source.is_file():
            continue
        rows = csv_rows(source)
        _, header = next(rows, (1, []))
        for line, cells in rows if {"slide", "patient"} <= set(header) else ():
            row = dict(zip(header, cells, strict=False))
            stem, patient = name_key(Path(row["slide"]).stem), row.get("patient")
            if patient and patients.setdefault(stem, patient) != patient:
                raise DataError(
                    f"{source}, line {line}: {stem} is of patient {patient}, but also of {patients[stem]}; keep one"
                )
    return patients

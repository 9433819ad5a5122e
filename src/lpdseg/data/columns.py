"""Which columns of a manifest are classes, and which only look like some."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lpdseg.errors import DataError, SettingsError
from lpdseg.tissue import PRESETS, TissueClasses

BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
"""Cells of labels; pandas writes floats into a column that has empty cells."""

NUMBERS = "unnamed: 0"
"""The name of a first column without one."""

_ABOUT_PATCHES = {
    "fold", "folds", "kfold", "cv", "cvfold", "index", "idx", "id", "number", "row", "column", "width",
    "height", "size", "level", "magnification", "filename", "file", "image", "slide", "case", "block", "site",
    "centre", "center", "hospital", "institution", "institute", "lab", "scanner", "stain", "cohort", "source",
    "dataset", "batch", "age", "sex", "gender", "male", "female", "grade", "stage", "survival", "event",
    "status", "date", "year", "label", "target", "labels", "nlabels", "numlabels", "labelcount", "count",
    "weight", "score", "quality", "artefact", "artifact", "blur", "checked", "done", "reviewed", "use", "used",
    "keep", "include", "included", "exclude", "excluded", "valid", "istrain", "isvalid", "isval", "istest",
    "comment", "comments", "note", "notes", "seed", "group", "augmented", "unnamed0", "caseid", "slideid",
    "patchid", "imageid", "patientid",
}  # fmt: skip
"""What columns about patches are called, without case and separators."""


@dataclass(frozen=True)
class Column:
    """A column whose name is none of the fixed ones; `bits` is the share of its filled cells that are 0 or 1."""

    name: str
    filled: int
    bits: float

    @classmethod
    def of(cls, name: str, cells: Sequence[str]) -> "Column":
        """Counts the cells."""
        filled = [cell for cell in cells if cell]
        return cls(name, len(filled), sum(cell in BITS for cell in filled) / max(1, len(filled)))

    @property
    def may_be_class(self) -> bool:
        """Whether it can be taken for a class unasked: mostly 0 and 1, and not called like a fact about patches."""
        word = re.sub(r"[\W_]+", "", self.name).lower()
        numbered = re.search(r"[\W_](id|idx|index|no|nr|number|count)$", self.name, re.IGNORECASE)
        return self.bits >= 0.5 and word not in _ABOUT_PATCHES and numbered is None


def classes_of_columns(
    csv_path: Path, columns: Sequence[Column], given: TissueClasses | None
) -> tuple[TissueClasses, tuple[str, ...]]:
    """The classes of a manifest, and notes that name the columns that are no classes.

    `given` are the classes where they are known. Else they are those of a preset of the same names in the same
    order, or the columns that may be classes.

    **Raises:** `DataError` where a class that is given has no column though others have, and where no column can be
    a class.
    """
    names = [column.name for column in columns]
    if given is not None:
        lacking = [name for name in given.names if name not in names]
        beside = [column for column in columns if column.name not in given.names]
        likely = [column.name for column in beside if column.may_be_class and column.filled]
        # A list of unlabelled valid and test patches needs no class columns.
        if lacking and (len(lacking) < len(given) or likely):
            there = [name for name in names if name in given.names or name in likely]
            raise DataError(
                f"{csv_path}, line 1: the class columns are {', '.join(there)}, but the classes are "
                f"{', '.join(given.names)}; there is no column for {', '.join(lacking)}: add it, or name "
                "the classes that there are with --classes"
            )
        return given, _notes(beside, "they are not among the classes")
    taken = tuple(column.name for column in columns if column.may_be_class)
    beside = [column for column in columns if not column.may_be_class]
    for preset in PRESETS.values():
        if preset.names == taken:
            return preset, _notes(beside, "name the classes with --classes or classes.yaml if they are some")
    try:
        classes = TissueClasses(taken)
    except SettingsError as error:
        reason = f"; {', '.join(names)} cannot be classes" if names else ""
        told = f"no class columns{reason}; add a column of 0 and 1 for each class" if not taken else str(error)
        raise DataError(f"{csv_path}, line 1: {told}") from error
    return classes, (
        f"the columns {', '.join(taken)} are taken for the classes",
        *_notes(beside, "name the classes with --classes or classes.yaml if they are some"),
    )


def _notes(columns: Sequence[Column], advice: str) -> tuple[str, ...]:
    if not columns:
        return ()
    return (f"columns that are not taken for classes: {', '.join(column.name for column in columns)}; {advice}",)

"""The worst patches of `lpdseg evaluate`: a list for people, and tables per patch and per patient."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpdseg.choices import Background, WorstBy

if TYPE_CHECKING:
    from rich.table import Table

    from lpdseg.evaluation.worst import PatchFigures
    from lpdseg.tissue import TissueClasses


def write_tables(
    figures: "Sequence[PatchFigures]",
    classes: "TissueClasses",
    background: Background,
    patches: Path | None,
    patients: Path | None,
) -> None:
    """Writes a row per patch and a row per patient, as CSV, where they are asked for. `figures` have an order.

    **Raises:** `OutputError`.
    """
    from lpdseg.evaluation.protocol import write_rows
    from lpdseg.evaluation.worst import patch_rows, patient_rows

    if patches is not None:
        write_rows(list(patch_rows(figures, classes)), patches)
    if patients is not None:
        write_rows(patient_rows(figures, classes, background), patients)


def worst_table(figures: "Sequence[PatchFigures]", classes: "TissueClasses", by: WorstBy, most: int) -> "Table":
    """The first `most` of patches in their order, for a terminal; paths are below the folder that they share."""
    from rich.table import Table

    from lpdseg.evaluation.protocol import figure_text
    from lpdseg.evaluation.worst import patch_rows

    rows = list(patch_rows(figures[:most], classes))
    shared = os.path.commonpath([Path(row["patch"]).parent for row in rows])
    names = [name for name in ("error", "unsure", "disagreement") if any(row[name] is not None for row in rows)]
    title = f"the worst {len(rows)} of {len(figures)} patches by {by}, per cent, below {shared}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("patch", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("confused")
    for row in rows:
        figures_of = (figure_text(row[name]) for name in names)
        table.add_row(os.path.relpath(row["patch"], shared), *figures_of, row["confused"])
    return table

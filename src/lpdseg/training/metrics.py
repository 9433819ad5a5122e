"""The figures of a run as it goes: JSON lines, CSV and TensorBoard."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lpdseg.files import parse_json, read_text, refused, write_text
from lpdseg.schema import Described, Whole, fits

Row = dict[str, Any]


class _Row(Described):
    __pydantic_extra__: dict[str, float | None]
    kind: Literal["train", "valid"]
    step: Whole


def read_metrics(run: Path) -> list[Row]:
    """The rows of `metrics.jsonl`; a last line cut short by a killed process is left out, and what follows a line
    that is no row. None of a file that cannot be read.
    """
    path = run / "metrics.jsonl"
    try:
        lines = read_text(path, errors="replace").splitlines()
    except (OSError, ValueError):
        return []
    rows = []
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            break
        if not fits(_Row, row):
            break
        rows.append(row)
    return rows


class Metrics:
    """Writes rows of `step`, `kind` (`train` or `valid`) and figures.

    **Arguments:**

    - `run`: the run's folder.
    - `resume_step`: rows after this step are dropped, for they will be made again.
    - `tell`: is called with the step and the figures of each new row, by names such as `train/loss`.
    """

    def __init__(
        self, run: Path, resume_step: int, tell: Callable[[int, dict[str, float]], None] = lambda step, values: None
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run, self._tell = run, tell
        self.rows = [row for row in read_metrics(run) if row["step"] <= resume_step]
        write_text(run / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in self.rows))
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resume_step + 1)

    def add(self, kind: str, step: int, values: Mapping[str, float | None]) -> None:
        """Appends one row; None is a figure that cannot be told.

        **Raises:** `OutputError` where the disk is full.
        """
        row = {"kind": kind, "step": step, **values}
        self.rows.append(row)
        try:
            with (self.run / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise refused(self.run / "metrics.jsonl", error) from error
        named = {f"{kind}/{name}": value for name, value in values.items() if value is not None}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        self._tell(step, named)

    def write_csv(self) -> None:
        """Writes all rows as `metrics.csv`."""
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.run / "metrics.csv", text.getvalue())

    def close(self) -> None:
        """Writes the CSV and ends the TensorBoard file."""
        self.write_csv()
        self._board.close()

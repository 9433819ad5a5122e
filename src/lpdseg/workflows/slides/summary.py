"""One table of all slides of a run."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lpdseg.files import write_text
from lpdseg.workflows.slides.result import SlideResult


def summary_path(out: Path, shard: tuple[int, int] | None) -> Path:
    """`summary.csv`, or a name of its own for each shard: jobs of an array write at the same time."""
    return out / ("summary.csv" if shard is None else f"summary-{shard[0]}-of-{shard[1]}.csv")


def write_summary(
    path: Path, results: Sequence[SlideResult], names: Sequence[str], left: Sequence[Path] = ()
) -> None:
    """Writes a CSV with one row per slide.

    Its columns: `slide`; `status` (segmented, kept, failed); `mpp_x`, `mpp_y` and `mpp_source`; `mpp_told`, which
    the slide tells of itself; `tissue_share`, of
    the slide, in 0..1; `mm2_CLASS` and `percent_CLASS` of the tissue for each class; `windows`,
    `windows_per_second`, `waiting_share`, `seconds`; `note`; and `about`, what the model was trained on. Cells of a
    slide that failed are empty.

    **Arguments:**

    - `names`: of the classes.
    - `left`: slides that the run has not come to; what the table at `path` already says of them stays.

    **Raises:** `OutputError`.
    """
    columns = [
        "slide", "status", "mpp_x", "mpp_y", "mpp_source", "mpp_told", "tissue_share",
        *(f"mm2_{name}" for name in names), *(f"percent_{name}" for name in names),
        "windows", "windows_per_second", "waiting_share", "seconds", "note", "about",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(result) for result in results)
    before = _rows_of(path, columns)
    writer.writerows(before[str(slide)] for slide in left if str(slide) in before)
    write_text(path, text.getvalue())


def _rows_of(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows of an earlier table by slide; none where it has other columns, or there is no such table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, ValueError, csv.Error):
        return {}
    same = list(reader.fieldnames or []) == list(columns)
    return {row["slide"]: row for row in rows if None not in row} if same else {}


def _row(result: SlideResult) -> dict[str, object]:
    row: dict[str, object] = {"slide": str(result.path), "status": result.status, "note": result.sentence}
    if result.status == "failed" or result.mpp is None:
        return row
    mpp = result.mpp
    return (
        row
        | {"mpp_x": mpp.x, "mpp_y": mpp.y, "mpp_source": mpp.source, "tissue_share": round(result.tissue, 6)}
        | ({} if result.told is None else {"mpp_told": f"{result.told.x:g}"})
        | {f"mm2_{area.name}": round(area.mm2, 6) for area in result.areas}
        | {f"percent_{area.name}": round(area.percent, 4) for area in result.areas}
        | {"windows": result.windows, "windows_per_second": result.rate, "waiting_share": result.waiting}
        | {"seconds": round(result.seconds, 1), "about": result.about}
    )

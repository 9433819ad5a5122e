"""One table of all slides of a run."""

from collections.abc import Sequence
from pathlib import Path

from lpdseg.alone import only_one
from lpdseg.files import absolute
from lpdseg.workflows.slides.result import SlideResult
from lpdseg.workflows.slides.state import SHORT
from lpdseg.workflows.tables import write_table


def summary_path(out: Path, shard: tuple[int, int] | None) -> Path:
    """`summary.csv`, or a name of its own for each shard: jobs of an array write at the same time."""
    return out / ("summary.csv" if shard is None else f"summary-{shard[0]}-of-{shard[1]}.csv")


def write_summary(path: Path, results: Sequence[SlideResult], names: Sequence[str]) -> None:
    """Writes a CSV with one row per slide; rows of slides that this run has not come to, or that another process
    has, stay.

    Its columns: `slide`, its path; `status` (segmented, kept, failed); `mpp_x`, `mpp_y` and `mpp_source`;
    `mpp_told`, which the slide tells of itself; `tissue_share`, of the slide, in 0..1; `unsure_share`, of the
    tissue, in 0..1, where uncertainty was asked for; `mm2_CLASS` and
    `percent_CLASS` of the tissue for each class; `windows`, `windows_per_second`, `waiting_share`, `seconds`;
    `model`, `edits` and `offsets_data`, the first digits of the SHA-256 of its weights, of edits, and of the data
    that offsets were chosen anew on; `note`; and `about`, what the model was trained on. Cells of a slide that
    failed are empty.

    **Arguments:**

    - `names`: of the classes.

    **Raises:** `OutputError`.
    """
    columns = [
        "slide", "status", "mpp_x", "mpp_y", "mpp_source", "mpp_told", "tissue_share", "unsure_share",
        *(f"mm2_{name}" for name in names), *(f"percent_{name}" for name in names),
        "windows", "windows_per_second", "waiting_share", "seconds", "model", "edits",
        "offsets_data", "note", "about",
    ]  # fmt: skip
    with only_one(path.with_name(f".{path.name}.lock"), None, path):  # others may add their rows
        write_table(path, "slide", columns, [_row(result) for result in results])


def _row(result: SlideResult) -> dict[str, object]:
    row: dict[str, object] = {"slide": absolute(result.path), "status": result.status, "note": result.sentence}
    if result.status == "failed" or result.mpp is None:
        return row
    mpp = result.mpp
    return (
        row
        | {"mpp_x": mpp.x, "mpp_y": mpp.y, "mpp_source": mpp.source, "tissue_share": round(result.tissue, 6)}
        | ({} if result.told is None else {"mpp_told": f"{result.told.x:g}"})
        | ({} if result.unsure is None else {"unsure_share": round(result.unsure, 6)})
        | {f"mm2_{area.name}": round(area.mm2, 6) for area in result.areas}
        | {f"percent_{area.name}": round(area.percent, 4) for area in result.areas}
        | {"windows": result.windows, "windows_per_second": result.rate, "waiting_share": result.waiting}
        | {"seconds": round(result.seconds, 1), "model": result.model[:SHORT], "edits": result.edits[:SHORT]}
        | {"offsets_data": result.offsets_data[:SHORT]}
        | {"about": result.about}
    )

"""`lpdseg segment --to …`: whole slides."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import Terminal, say

if TYPE_CHECKING:
    from lpdseg.workflows.slides.result import SlideResult


def segment_slides(run: Path, inputs: Sequence[Path], out: Path, **options: Any) -> None:
    """Segments slides and shows how each has ended; exits with 1 where some have failed.

    `options` are fields of `SlideOptions`.
    """
    from lpdseg import api
    from lpdseg.cli.progress import slide_stages
    from lpdseg.workflows.slides.options import SlideOptions
    from lpdseg.workflows.slides.summary import summary_path

    chosen = SlideOptions(**options)
    finished: list[SlideResult] = []

    def left() -> str:
        whole = sum(result.status != "failed" for result in finished)
        return f"slides finished in {out}: {whole}; run the same command again, and it goes on from there"

    with told_what_is_left(left), slide_stages() as (progress, ended):

        def end(result: "SlideResult") -> None:
            finished.append(result)
            ended(result)

        api.segment_slides(run, inputs, out, options=chosen, progress=progress, ended=end)
    _show(finished)
    say(f"Outputs in {out}; the table is in {summary_path(out, chosen.shard)}.")
    failed = [result for result in finished if result.status == "failed"]
    if failed:
        say(f"{len(failed)} of {len(finished)} slides failed:", err=True)
        say(*(f"  {result.sentence}" for result in failed), err=True)
        raise typer.Exit(1)


def _show(results: "Sequence[SlideResult]") -> None:
    from rich.table import Table

    if not results:
        say("This shard holds no slide.")
        return
    names = next(([area.name for area in result.areas] for result in results if result.areas), [])
    table = Table(box=None, pad_edge=False)
    for title in ("slide", "", "tissue mm²", *(f"{name} %" for name in names)):
        table.add_column(title, justify="left" if title in ("slide", "") else "right", overflow="fold")
    for result in results:
        cells = [result.path.name, result.status]
        if result.status != "failed":
            cells.append(f"{sum(area.mm2 for area in result.areas):.2f}")
            cells += [f"{area.percent:.1f}" for area in result.areas]
        table.add_row(*cells)
    Terminal().print(table)

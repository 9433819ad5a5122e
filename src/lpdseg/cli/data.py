"""`lpdseg data`: look at a data set before a model learns from it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Check data sets."""


@app.command()
def check(
    source: Annotated[
        Path, typer.Argument(metavar="DIR_OR_CSV", help="A manifest CSV, or the folder of a data set.")
    ],
    classes: Annotated[
        str | None, typer.Option(help="A preset (bcss, luad, wsss4luad, glas), or class names as in STR,BEN,MAL.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the report there, with every file it names.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode images.")] = None,
) -> None:
    """Decode every image and mask, and tell what would make training or its figures wrong.

    Exits with 1 where there are errors, and with 0 where there are at most warnings.
    """
    import os

    from lpdseg.cli.data_report import checking, show
    from lpdseg.data.check import check_data
    from lpdseg.data.importers import load_data
    from lpdseg.files import write_json
    from lpdseg.tissue import tissue_classes

    manifest = load_data(source, None if classes is None else tissue_classes(classes))
    with checking(len(manifest.records)) as on_patch:
        report = check_data(manifest, workers=workers or min(8, os.cpu_count() or 1), on_patch=on_patch)
    if json is not None:
        write_json(json, report.as_dict())
    show(report)
    if not report.ok:
        raise typer.Exit(1)

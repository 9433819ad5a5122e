"""`lpdseg report`."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.choices import Palette, Split
from lpdseg.cli.common import DataClasses, Device, MaskValues, OfRun
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="The folder of a trained run; of several, side by side.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            envvar="LPDSEG_DATA",
            help="A manifest CSV, or the folder of a data set. Default: what the (first) run was trained on.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page. Default, of one run: report.html in its folder.")
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Which patches to score and show. Default: test, else valid."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=48, help="Patches shown, from the best to the worst.")] = 6,
    palette: Annotated[
        Palette | None,
        typer.Option(help="Colours of the classes: their own, or ones that everybody can tell apart."),
    ] = None,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
) -> None:
    """Write a page about a run, or about several: figures, classes, patches, prototypes, losses, licences.

    The page is one HTML file that needs no other.
    """
    from lpdseg import api
    from lpdseg.cli.progress import stages

    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        path = api.report(
            runs,
            data,
            out,
            split=split,
            images=images,
            palette=palette,
            classes=classes,
            mask_values=mask_value or (),
            checkpoint=checkpoint,
            device=device,
            progress=progress,
        )
    say(f"Look at the report: open {path}")

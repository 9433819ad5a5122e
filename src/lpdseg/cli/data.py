"""`lpdseg data`: look at a data set before a model learns from it, or make one."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.common import MaskValues
from lpdseg.cli.quietly import quietly
from lpdseg.cli.stop import told_what_is_left
from lpdseg.cli.tile import tile
from lpdseg.terminal import say

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Check a data set, cut one out of slides, or generate one."""


@app.command()
@quietly
def check(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR_OR_CSV", envvar="LPDSEG_DATA", help="A manifest CSV, or the folder of a data set."
        ),
    ],
    classes: Annotated[
        str | None, typer.Option(help="A preset (bcss, luad, wsss4luad, glas), or class names as in STR,BEN,MAL.")
    ] = None,
    mask_value: MaskValues = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the report there, with every file it names.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode images.")] = None,
) -> None:
    """Decode every image and mask, and tell what would make training or its figures wrong.

    Exits with 1 where there are errors, and with 0 where there are at most warnings.
    """
    from lpdseg.cli.data_report import checking, show
    from lpdseg.cores import allowed_cores
    from lpdseg.data.check import check_data
    from lpdseg.data.opening import open_data
    from lpdseg.files import write_json
    from lpdseg.outputs import CHECK, check_outputs

    check_outputs([(json, CHECK)], [source])
    manifest = open_data(source, chosen=classes, mask_values=mask_value or ())
    with checking(len(manifest.records)) as on_patch:
        report = check_data(manifest, workers=workers or min(8, allowed_cores()), on_patch=on_patch)
    if json is not None:
        write_json(json, report.as_dict())
    show(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
@quietly
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or one to go on with.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pixels.")] = 0,
    size: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 224,
    mpp: Annotated[float, typer.Option(help="Microns per pixel.")] = 0.5,
    train: Annotated[int, typer.Option(min=0, help="Training patches, with labels.")] = 1200,
    valid: Annotated[int, typer.Option(min=0, help="Validation patches, with masks.")] = 240,
    test: Annotated[int, typer.Option(min=0, help="Test patches, with masks.")] = 360,
    train_masks: Annotated[
        bool, typer.Option("--train-masks", help="Also write masks of training patches, for --method supervised.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
) -> None:
    """Generate H&E-like patches with known tissues, in the layout of BCSS-WSSS.

    Called again with the same options it makes the patches that are missing.
    """
    from lpdseg.cli.progress import stages
    from lpdseg.cores import allowed_cores
    from lpdseg.data.synthetic import PATIENTS, generate

    patches = {"train": train, "valid": valid, "test": test}
    again = "the patches in {} are whole; run the same command again, and it goes on from there"
    with told_what_is_left(lambda: again.format(out)), stages() as progress:
        manifest = generate(
            out,
            seed=seed,
            size=size,
            mpp=mpp,
            patches=patches,
            patients=PATIENTS,
            train_masks=train_masks,
            workers=workers or min(8, allowed_cores()),
            progress=lambda done, total: progress("generating", done, total),
        )
    counts = ", ".join(f"{len(manifest.split(split))} {split}" for split in manifest.splits)
    say(f"{counts} patches of {size} px at {mpp} microns per pixel, in {out}")


app.command()(quietly(tile))

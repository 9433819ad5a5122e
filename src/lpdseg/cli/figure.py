"""`lpdseg figure grid`, `prototypes`, `curves` and `confusion`: figures for a paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lpdseg.choices import Checkpoint, OpenGate, Palette, Split
from lpdseg.cli.common import DataClasses, Device, Edits, MaskValues, OfRun
from lpdseg.cli.quietly import quietly
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say

if TYPE_CHECKING:
    from lpdseg.data.records import Manifest
    from lpdseg.segmenting.segmenter import Segmenter

app = typer.Typer(no_args_is_help=True, help="Draw figures for a paper: PNG, SVG or PDF (extra: figures).")

_FEW = 6
"""Classes whose confusion matrix can be read in a single column of a journal, which is 89 mm wide."""

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of trained runs.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="Ends in .png, .svg or .pdf, which says what is written.")]
Width = Annotated[float, typer.Option(min=30, max=1000, help="Width of the figure in millimetres.")]
Dpi = Annotated[int, typer.Option(min=50, max=2400, help="Pixels per inch of a PNG.")]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR_OR_CSV",
        envvar="LPDSEG_DATA",
        help="A manifest CSV, or the folder of a data set. Default: what the first run was trained on.",
    ),
]
Colours = Annotated[
    Palette | None,
    typer.Option(
        help="Colours of the classes: their own, or those of Okabe and Ito, which people of any colour vision tell "
        "apart, for up to 8 classes."
    ),
]
ShownSplit = Annotated[Split | None, typer.Option(help="Which patches. Default: test, else valid.")]


def grid(
    runs: Runs,
    out: Out,
    data: Data = None,
    split: ShownSplit = None,
    patches: Annotated[int, typer.Option(min=1, max=48, help="Rows: from the first run's best to its worst.")] = 4,
    patch: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This patch instead, by file name. Repeatable.")
    ] = None,
    prototypes: Annotated[
        bool, typer.Option("--prototypes", help="Also which prototype won each pixel, where they make the mask.")
    ] = False,
    palette: Colours = None,
    width_mm: Width = 180.0,
    dpi: Dpi = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of the patches that are drawn where none has a mask.")] = 0,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
    edits: Edits = None,
) -> None:
    """Rows of patches; columns of image, truth, and the mask of each run."""
    from lpdseg.cli.progress import stages
    from lpdseg.insight.paper.gather import gather_grid
    from lpdseg.insight.paper.grid import grid_figure
    from lpdseg.insight.paper.sheet import check_figure

    check_figure(out)
    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        loaded = _load(runs, checkpoint, device, palette, edits)
        manifest, split = _data(runs, loaded, data, split, classes, mask_value)
        found = gather_grid(
            loaded,
            manifest,
            split,
            count=patches,
            seed=seed,
            files=patch or (),
            prototypes=prototypes,
            progress=lambda done, total: progress("ranking patches", done, total),
        )
    _write(out, lambda: grid_figure(found.groups, found.rows, found.legend, width_mm), dpi, found.told)


def prototypes(
    run: Run,
    out: Out,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            envvar="LPDSEG_DATA",
            help="Patches to measure on: how much of its class each wins. Default: none.",
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which of these patches.")] = "valid",
    patches: Annotated[int, typer.Option(min=1, max=8, help="Regions per prototype, as far as there is room.")] = 3,
    palette: Colours = None,
    width_mm: Width = 180.0,
    dpi: Dpi = 300,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
    edits: Edits = None,
) -> None:
    """Of each class its prototypes, with the training regions that they stand for and their names."""
    from lpdseg import api
    from lpdseg.cli.progress import stages
    from lpdseg.data.opening import same_classes
    from lpdseg.insight.atlas import make_atlas
    from lpdseg.insight.paper.plates import prototypes_figure
    from lpdseg.insight.paper.sheet import check_figure
    from lpdseg.segmenting.edited import names_in
    from lpdseg.training.regions import read_regions

    check_figure(out)
    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        segmenter = api.load_for_prototypes(run, checkpoint, device)
        if palette is not None:
            segmenter = segmenter.with_settings(palette=palette)
        atlas = make_atlas(
            segmenter,
            None if data is None else same_classes(segmenter.classes, data, classes, mask_value or ()),
            split,
            kept=read_regions(run),
            names=names_in(segmenter, edits),
            patches=patches,
            progress=lambda done, total: progress("looking at patches", done, total),
        )
    what = "training regions" if atlas.regions else f"{split} patches"
    share = (
        "training patches" if atlas.coverage is None else f"pixels of {atlas.coverage['patches']} {split} patches"
    )
    told = f"The {what} that show each prototype best. Per cent: of its class's {share}."
    _write(out, lambda: prototypes_figure(atlas, width_mm, patches), dpi, told)


def curves(
    runs: Runs,
    out: Out,
    parts: Annotated[bool, typer.Option("--parts", help="Also every part of the loss.")] = False,
    width_mm: Width = 180.0,
    dpi: Dpi = 300,
) -> None:
    """Validation mIoU and losses of runs over their steps, in the colours of Okabe and Ito."""
    from lpdseg.errors import CheckpointError
    from lpdseg.insight.paper.curves import Trained, curves_figure
    from lpdseg.insight.paper.sheet import check_figure
    from lpdseg.insight.run_record import read_run, run_names
    from lpdseg.training.metrics import read_metrics

    check_figure(out)
    trained = [
        Trained(name, read_metrics(run), read_run(run).get("losses") or {})
        for name, run in zip(run_names(runs), runs, strict=True)
    ]
    empty = next((run for run, one in zip(runs, trained, strict=True) if not one.rows), None)
    if empty is not None:
        raise CheckpointError(f"{empty / 'metrics.jsonl'} has no rows yet; let the run go on until it tells losses")
    told = "Losses: means over the steps since the point before. Validation: without refinement; circle: the best."
    _write(out, lambda: curves_figure(trained, width_mm, parts), dpi, told)


def confusion(
    runs: Runs,
    out: Out,
    data: Data = None,
    split: ShownSplit = None,
    gate: Annotated[OpenGate, typer.Option(help="Classes that a mask may show.")] = "predicted",
    palette: Colours = None,
    width_mm: Annotated[
        float | None,
        typer.Option(
            min=30, max=1000, help="Width in millimetres. Default: 89 for one run of few classes, else 180."
        ),
    ] = None,
    dpi: Dpi = 300,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
    edits: Edits = None,
) -> None:
    """Which class is taken for which: per cent of the true pixels of each row, and how many pixels."""
    import numpy as np

    from lpdseg import api
    from lpdseg.cli.progress import stages
    from lpdseg.insight.paper.confusion import confusion_figure
    from lpdseg.insight.paper.sheet import check_figure

    check_figure(out)
    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        loaded = _load(runs, checkpoint, device, palette, edits)
        manifest, split = _data(runs, loaded, data, split, classes, mask_value)
        records = [api.evaluate(one, manifest, split, (gate,), progress=progress)[0] for _, one in loaded]
    matrices = [(name, np.array(one["confusion"])) for (name, _), one in zip(loaded, records, strict=True)]
    first = records[0]
    told = (
        f"Per cent of the true pixels of each row, and pixels; {first['images']} {split} patches of "
        f"{first['patients']} {first['unit']}, gate {gate}, refinement {first['refine']}."
    )
    shown = loaded[0][1].classes
    width = width_mm or (89.0 if len(runs) == 1 and shown.channels <= _FEW else 180.0)
    _write(out, lambda: confusion_figure(matrices, shown, width), dpi, told)


def _load(
    runs: Sequence[Path], checkpoint: Checkpoint, device: str, palette: Palette | None, edits: Path | None
) -> "list[tuple[str, Segmenter]]":
    from lpdseg import api
    from lpdseg.errors import SettingsError
    from lpdseg.insight.run_record import run_names

    if edits is not None and len(runs) > 1:
        raise SettingsError("--edits speaks of the prototypes of one run; name one run, or leave --edits out")
    changes: dict[str, Any] = {} if palette is None else {"palette": palette}
    loaded = [api.load(run, checkpoint, device, edits=edits, **changes) for run in runs]
    return list(zip(run_names(runs), loaded, strict=True))


def _data(
    runs: Sequence[Path],
    loaded: "list[tuple[str, Segmenter]]",
    data: Path | None,
    split: Split | None,
    classes: str | None,
    mask_value: list[str] | None,
) -> "tuple[Manifest, Split]":
    """The data set, and the split that is asked for, else test or valid, whichever is there."""
    from lpdseg.insight.run_record import data_for

    manifest = data_for(runs, [one.classes for _, one in loaded], data, classes, mask_value or ())
    return manifest, split or ("test" if "test" in manifest.splits else "valid")


def _write(out: Path, draw: Any, dpi: int, told: str) -> None:
    from lpdseg.insight.paper.sheet import write_figure

    notes = write_figure(out, draw, dpi, told)
    say(told, *(f"note: {note}" for note in notes), f"Look at the figure: open {out}")


for _command in (grid, prototypes, curves, confusion):
    app.command()(quietly(_command))

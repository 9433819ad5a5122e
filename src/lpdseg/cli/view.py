"""`lpdseg view`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lpdseg.choices import OpenGate, Palette
from lpdseg.cli.common import DataClasses, Device, MaskValues, OfRun
from lpdseg.terminal import say


def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SLIDES|RESULTS|PATCHES]...",
            help="Slides, patches, a data set, or what `segment` wrote. Default: what the run was trained on.",
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN2",
            help="Another run, shown beside the first; or a folder of a benchmark with many, or several of these: "
            "then patches can be ranked by where all differ. Repeatable.",
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Edits of prototypes, read and saved there. Default: edits.yaml in RUN."),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is drawn is saved there. Default: corrections.geojson in RUN."),
    ] = None,
    gate: Annotated[OpenGate | None, typer.Option(help="Instead of the run's own gate.")] = None,
    palette: Annotated[
        Palette | None,
        typer.Option(help="Colours of the classes: their own, or ones that everybody can tell apart."),
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="Microns per pixel of the slides, whatever they say.")] = None,
    model_mpp: Annotated[float | None, typer.Option(help="Microns per pixel of the training patches.")] = None,
    window: Annotated[int | None, typer.Option(help="Side in pixels of what is computed at once.")] = None,
    host: Annotated[str, typer.Option(help="Whom to serve; by default this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
) -> None:
    """Look at slides and patches under a run's masks and prototypes, in a browser; needs the extra `view`."""
    from lpdseg.extras import needed

    needed("view", "starlette", "uvicorn")
    from lpdseg.checkpoint import read_state
    from lpdseg.quiet import quiet
    from lpdseg.segmenting.loading import other_runs
    from lpdseg.sharing.hub import local
    from lpdseg.tissue import TissueClasses
    from lpdseg.view.items import open_items
    from lpdseg.view.serving import is_loopback, serve
    from lpdseg.view.visit import Visit
    from lpdseg.workflows.slides.options import SlideOptions

    asked: dict[str, Any] = {"gate": gate, "palette": palette, "mpp": mpp, "model_mpp": model_mpp, "window": window}
    options = SlideOptions(**asked, checkpoint=checkpoint, device=device, edits=edits)
    run = local(run)
    with quiet():
        named = TissueClasses.from_dict(read_state(run, checkpoint)["classes"])
        opened = open_items(run, inputs or [], named, named=classes, mask_values=mask_value or ())
        others = other_runs(compare or (), named.channel_names, run)
        visit = Visit([run, *others], opened, options, corrections)
    say(*opened.notes, err=True)
    if edits is not None and not visit.editing.file.is_there:
        say(f"{edits} is not there yet: it is made when edits are saved; until then there are none.", err=True)
    if not is_loopback(host):
        say(
            f"Everybody who can reach {host} and has the address below can see these images; it is not encrypted.",
            err=True,
        )
    serve(visit, host=host, port=port, browser=browser, told=lambda address: say(*_opened(visit, address)))


def _opened(visit: Any, address: str) -> tuple[str, str]:
    count = len(visit.items)
    told = "image. Look at it" if count == 1 else "images. Look at them"
    return f"{count:,} {told}: {address}", "Stop with Ctrl-C."

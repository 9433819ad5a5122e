"""`lpdseg weights`: encoders that one may start from, and how to make them loadable."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.quietly import quietly
from lpdseg.terminal import say

app = typer.Typer(no_args_is_help=True)


@app.callback()
def weights() -> None:
    """List pretrained encoders, or turn their weights into a folder for --weights."""


@app.command()
@quietly
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder or file of weights, or a hub id as in lab/network.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads of a ViT, where the source does not tell.")
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.01, help="Microns per pixel that the network learned from, for the record."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The hub id of a local SOURCE: its licence and mpp are then known."),
    ] = None,
) -> None:
    """Turn weights of timm, torchvision, DINO or DINOv2 (ResNets, ViTs) into a folder that --weights takes.

    Pickles are read without running code. What is written is loaded again and compared with timm where that is
    installed; conversion.json beside it says where it is from.
    """
    from lpdseg.model.conversion.convert import convert as convert_weights

    done = convert_weights(source, out, heads=heads, mpp=mpp, of=of)
    say(*done.told, f"written: {done.folder}")


@app.command("list")
@quietly
def list_weights(
    pathology: Annotated[bool, typer.Option("--pathology", help="Only those that know tissue.")] = False,
) -> None:
    """List pretrained encoders: licence, microns per pixel, cost, and what comes before --weights takes them.

    Cost is that of a patch of 224 px in billions of multiply-adds, without a head. Other weights of these families
    do as well.
    """
    from lpdseg.cli.progress import stages
    from lpdseg.model.catalogue import LISTED, costs

    chosen = [listed for listed in LISTED.values() if listed.tissue or not pathology]
    rows = [("id", "family", "µm/px", "million", "G mult-add", "before", "licence")]
    with stages() as progress:
        for number, (listed, cost) in enumerate(zip(chosen, costs(chosen), strict=True)):
            progress("counting", number + 1, len(chosen))
            entry = listed.entry
            mpp = "-".join(f"{value:g}" for value in dict.fromkeys(listed.mpp or ())) or "?" * listed.tissue
            size = f"{cost.parameters:.1f}", f"{cost.multiply_adds:.1f}"
            before = ["ask for access"] * listed.gated + ["convert"] * listed.converted
            rows.append((listed.name, entry.model_type, mpp, *size, ", ".join(before), entry.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # one line each, however narrow the terminal, for whoever searches them
        sides = zip(row, "<<<>><<", widths, strict=True)
        cells = (f"{cell:{side}{width}}" for cell, side, width in sides)
        say("  ".join(cells).rstrip())

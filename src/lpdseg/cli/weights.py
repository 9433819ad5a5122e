"""`lpdseg weights`: encoders that one may start from, and how to make them loadable."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.quietly import quietly

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
        float | None, typer.Option(min=0, help="Microns per pixel that the network learned from, for the record.")
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
    typer.echo("\n".join([*done.told, f"written: {done.folder}"]))

"""`lpdseg export`."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.stop import told_what_is_left
from lpdseg.cli.words import Checkpoint, Source


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="The graph, weights included.")],
    source: Annotated[
        Source | None, typer.Option(help="Class maps, or the segmentation head's logits. Default: as the run's.")
    ] = None,
    checkpoint: Annotated[Checkpoint, typer.Option(help="Which weights of the run.")] = Checkpoint.best,
) -> None:
    """Write the network as an ONNX graph for other programs: RGB in [0, 1] in, maps and logits out, any size.

    `segment` and `evaluate` need no such file: they export by themselves for `--backend onnx` and `openvino`.
    """
    from lpdseg import api

    with told_what_is_left(lambda: "nothing was written"):
        changes = {} if source is None else {"source": source.value}
        facts, apart = api.export_graph(run, out, checkpoint=checkpoint.value, **changes)
    typer.echo(
        f"{out}: images (B x 3 x H x W, RGB in [0, 1], H and W multiples of {facts.stride}) → "
        f"{', '.join(facts.outputs)}. Largest difference from PyTorch {apart:.1e}."
    )

"""`lpdseg export`."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.choices import Source
from lpdseg.cli.common import Edits, MaskValues, OffsetsData, OfRun, edits_to_use
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.onnx", help="The graph, weights included. With --int8 by default where --backend looks."
        ),
    ] = None,
    source: Annotated[
        Source | None, typer.Option(help="Class maps, or the segmentation head's logits. Default: as the run's.")
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA", help="In 8-bit integers, calibrated on the training patches of this data set."
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="What that data's classes are, where its files do not tell.")
    ] = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    edits: Edits = None,
    data: OffsetsData = None,
) -> None:
    """Write the network as an ONNX graph for other programs: RGB in [0, 1] in, maps and logits out, any size.

    How masks are made of that is in its metadata, and --edits are part of it. `segment` and `evaluate` need no such
    file for `--backend onnx` and `openvino`, which export by themselves. For `--backend onnx-int8` and
    `openvino-int8` write it once, with --int8 and without --out.
    """
    from lpdseg import api
    from lpdseg.errors import SettingsError

    if int8 is None and out is None:
        raise SettingsError("name the file to write with --out FILE.onnx")
    if int8 is not None and source is not None:
        raise SettingsError("--int8 exports what the run predicts with; leave --source out")
    with told_what_is_left(lambda: "nothing was written"):
        said = edits_to_use(run, edits, data, checkpoint=checkpoint, device="cpu")
        if int8 is not None:
            made = api.export_int8(
                run, int8, out, classes=classes, mask_values=mask_value or (), checkpoint=checkpoint, edits=said
            )
        else:
            assert out is not None
            changes = {} if source is None else {"source": source}
            facts, apart = api.export_graph(run, out, checkpoint=checkpoint, edits=said, **changes)
    if int8 is not None:
        compared = "there are no validation masks to compare with"
        if made.miou is not None:
            compared = f"validation mIoU {made.miou[0]:.2f} in float32, {made.miou[1]:.2f} in integers"
        say(f"{made.path}: 8-bit integers, ranges of {made.patches} training patches; {compared}.")
        return
    say(
        f"{out}: images (B x 3 x H x W, RGB in [0, 1], H and W multiples of {facts.stride}) → "
        f"{', '.join(facts.outputs)}. Largest difference from PyTorch {apart:.1e}."
    )

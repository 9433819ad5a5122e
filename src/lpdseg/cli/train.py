"""`lpdseg train`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpdseg.choices import EncoderName, MethodName
from lpdseg.cli.common import Device, Edits, MaskValues
from lpdseg.cli.processes import is_first
from lpdseg.cli.quietly import is_quiet
from lpdseg.cli.stop import Stopped, told_what_is_left
from lpdseg.durations import duration
from lpdseg.terminal import Terminal, say

if TYPE_CHECKING:
    from lpdseg.api import TrainResult


def train(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR_OR_CSV", envvar="LPDSEG_DATA", help="A manifest CSV, or the folder of a data set."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The folder of the run; it must hold no other run.")],
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_YAML", help="Settings to start from: bcss, luad, wsss4luad, glas, paper, …"),
    ] = None,
    method: Annotated[
        MethodName | None,
        typer.Option(help="What is trained: LPD (the default), or what it is compared with."),
    ] = None,
    encoder: Annotated[
        EncoderName | None,
        typer.Option(help="Architecture of the encoder, instead of the preset's; auto: that of the weights."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FOLDER_OR_ID", help="Pretrained weights of the encoder: folder, hub id or imagenet."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="bcss, luad, wsss4luad, glas, or names as in STR,BEN,MAL. "
            "By default those of the data's classes.yaml, else the preset's."
        ),
    ] = None,
    mask_value: MaskValues = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change a setting, as in train.lr=1e-4. Repeatable."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training patches.")] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Go on from the weights and settings of another run."),
    ] = None,
    edits: Edits = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE_OR_FOLDER",
            help="With --from: strokes, areas and labels that an expert has corrected, as GeoJSON; see "
            "docs/how-to/correct.md.",
        ),
    ] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices on each machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, each started by a launcher such as torchrun.")] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out; one that has saved nothing yet starts."),
    ] = False,
) -> None:
    """Train on image-level labels.

    Masks of the valid split, where there are any, choose the best checkpoint.
    Ctrl-C saves and stops; --resume goes on as if it had never stopped.
    With --from and --edits, patches that show a prototype which was moved to another class are taught that class.
    With --from and --corrections, corrected pixels and labels are learnt beside the data, in few steps.
    """
    from lpdseg import api
    from lpdseg.checkpoint import has_checkpoint
    from lpdseg.training.progress import Silent, bar_or_lines

    resumes = f"go on with: {_command('train', '--data', data, '--out', out, '--resume')}"

    def left() -> str:
        return f"the last checkpoint is kept; {resumes}" if has_checkpoint(out, "last") else "nothing is kept yet"

    with told_what_is_left(left):
        result = api.train(
            data,
            out,
            preset=preset,
            encoder=encoder,
            weights=weights,
            classes=classes,
            mask_values=mask_value,
            method=method,
            overrides=set_ or (),
            seed=seed,
            epochs=epochs,
            resume=resume,
            start=from_,
            edits=edits,
            corrections=corrections,
            device=device,
            devices=devices,
            nodes=nodes,
            reporter=Silent() if is_quiet() or not is_first() else bar_or_lines(Terminal(stderr=True)),
        )
    if not _is_first_process():
        return
    if result.interrupted:
        raise Stopped(f"step {result.steps} of {result.total} is saved; {resumes}")
    _summarise(result, data)


def _is_first_process() -> bool:
    """With several devices every process runs this command; one of them speaks."""
    from torch import distributed

    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0


def _summarise(result: "TrainResult", data: Path) -> None:
    from lpdseg.training.changes import read_changes

    score = "no validation masks" if result.miou is None else f"best validation mIoU {result.miou:.2f} %"
    say(f"Trained {result.total} steps in {duration(result.seconds)}; {score}.")
    say(f"The run is in {result.run}. Next:")
    changes = read_changes(result.run)
    if result.miou is not None or (changes or {}).get("test"):
        split = "test" if (changes or {}).get("test") else "valid"
        say(f"  {_command('evaluate', result.run, '--data', data, '--split', split)}")
    if changes is not None:
        page = result.run.with_name(f"{result.run.name}.html")
        say(f"  {_command('report', result.run, '--data', data, '--out', page)}")
        say(f"  {_command('view', changes['from'], data, '--compare', result.run)}")
    say(f"  {_command('segment', result.run, 'NEW_PATCHES', '--out', 'RESULTS', '--overlay')}")


def _command(*words: object) -> str:
    return shlex.join(["lpdseg", *map(str, words)])

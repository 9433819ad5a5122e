"""`lpdseg bundle`: a run as one folder to give away, here or on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lpdseg.choices import Split
from lpdseg.cli.common import DataClasses, Device, Edits, MaskValues, OfRun, edits_to_use
from lpdseg.cli.quietly import quietly
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say


class _MakeUnlessNamed(TyperGroup):
    """`bundle RUN OUT` is `bundle make RUN OUT`; a run called `push` is named as `./push`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the library does, once the command is named."""
        bare = not args or args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if bare else ["make", *args])


app = typer.Typer(cls=_MakeUnlessNamed, no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="hf:OWNER/NAME", help="On the hub; @REVISION may follow.")]


@app.callback()
def bundle() -> None:
    """Put what prediction needs of a run into one folder to give away: `lpdseg bundle RUN OUT`."""


@app.command()
@quietly
def make(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a bundle to replace.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR_OR_CSV", help="Also measure on this data, for the card.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Which of its patches.")] = "test",
    license: Annotated[
        str, typer.Option(metavar="ID", help="Of the weights, as the hub names licences, such as apache-2.0.")
    ] = "unknown",
    title: Annotated[str | None, typer.Option(help="Of the card. Default: the name of OUT.")] = None,
    about: Annotated[
        str, typer.Option(metavar="TEXT", help="For the card: what it is for, and where the data came from.")
    ] = "",
    edits: Edits = None,
    offsets_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            help="With --edits: choose the classes' offsets anew, on the valid split of this data.",
        ),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also as an ONNX graph for other programs.")] = False,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
) -> None:
    """Write a bundle: weights, a description, a model card and the SHA-256 of each.

    All that predicts takes it as a run: segment, evaluate, view, prototypes, report, export. No names of patients
    and no paths are in it.
    """
    from lpdseg import api
    from lpdseg.cli.progress import stages
    from lpdseg.workflows.bundles.making import make_bundle

    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        said = edits_to_use(
            run, edits, offsets_from, "--offsets-from", checkpoint=checkpoint, device=device, progress=progress
        )
        records = []
        if data is not None:
            records = api.evaluate(
                run,
                data,
                split,
                classes=classes,
                mask_values=mask_value or (),
                checkpoint=checkpoint,
                device=device,
                edits=said,
                progress=progress,
            )
        make_bundle(
            run,
            out,
            title=title,
            about=about,
            licence=license,
            edits=said,
            records=records,
            onnx=onnx,
            checkpoint=checkpoint,
        )
    files = sorted(one.name for one in out.iterdir())
    say(f"{out}: {', '.join(files)}. Read README.md before you give it away.")
    if license == "unknown":
        say("No licence is stated, so that others may not use it; state one with --license ID.", err=True)


@app.command()
@quietly
def push(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `lpdseg bundle RUN OUT` wrote.")],
    name: _Id,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see, where the repository is not there yet.")
    ] = False,
) -> None:
    """Send a bundle to the hub, as whoever `hf auth login` knows."""
    from lpdseg.workflows.bundles.making import push_bundle

    say(f"Sent to {push_bundle(folder, name, private=not public)}")


@app.command()
@quietly
def pull(
    name: _Id,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a bundle to replace.")],
) -> None:
    """Get a bundle from the hub; only its known files are fetched, and each is checked."""
    from lpdseg.workflows.bundles.making import pull_bundle

    say(f"{pull_bundle(name, out)} is whole.")

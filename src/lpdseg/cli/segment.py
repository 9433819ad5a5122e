"""`lpdseg segment`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lpdseg.choices import Backend, OnError, OpenGate, Palette, Refinement
from lpdseg.cli import slide_options as slides
from lpdseg.cli.common import Device, Edits, OffsetsData, OfRun, edits_to_use
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say


@slides.with_slide_options
def segment(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUTS...",
            help="Patches: 8-bit RGB images, or folders that hold them. With --to whole slides: files, folders, "
            "patterns in quotes, or CSVs with a column slide and optionally mpp.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where masks and their record go.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write class probabilities per pixel, as npz.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write pictures of the images under their masks.")
    ] = False,
    prototypes: Annotated[
        bool,
        typer.Option(
            "--prototypes", help="Also write which prototype of its class won each pixel, and their areas."
        ),
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write how sure the mask is of each pixel, in grey.")
    ] = False,
    gate: Annotated[
        OpenGate | None,
        typer.Option(
            help="Classes that a mask may show: those predicted for its image, or all (none). "
            "By default as the run's settings say."
        ),
    ] = None,
    refine: Annotated[Refinement | None, typer.Option(help="Instead of the run's own refinement.")] = None,
    palette: Annotated[
        Palette | None,
        typer.Option(help="Colours of the classes: their own, or ones that everybody can tell apart."),
    ] = None,
    checkpoint: OfRun = "best",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at once; halved where they do not fit in memory.")
    ] = None,
    device: Device = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes the network: PyTorch, or on CPUs ONNX Runtime or OpenVINO.")
    ] = "torch",
    edits: Edits = None,
    data: OffsetsData = None,
    recurse: Annotated[bool, typer.Option("--recurse/--no-recurse", help="Look into folders below.")] = True,
    on_error: Annotated[
        OnError, typer.Option(help="At an image or slide that cannot be read: stop, or skip it and exit with 1.")
    ] = "stop",
    *,
    asked: dict[str, Any],
) -> None:
    """Turn patches into masks, palette PNGs with the class values of the training data; with --to whole slides.

    With --to, turn whole slides into annotations for QuPath, masks, probabilities, pictures and areas. Slides that
    are finished are kept, so the same command goes on after an interruption.
    """
    from lpdseg import api
    from lpdseg.cli.progress import stages
    from lpdseg.data.patches import IMAGE_SUFFIXES

    if asked["to"] is not None:
        from lpdseg.cli.segment_slides import segment_slides

        slides.refuse_for_slides(
            {
                "--probabilities": probabilities,
                "--overlay": overlay,
                "--uncertainty": uncertainty,
                "--no-recurse": not recurse,
            }
        )
        with told_what_is_left(lambda: "nothing was written"), stages() as progress:
            said = edits_to_use(
                run, edits, data, checkpoint=checkpoint, device=device, backend=backend, progress=progress
            )
        segment_slides(
            run,
            inputs,
            out,
            gate=gate,
            refine=refine,
            palette=palette,
            prototypes=prototypes,
            skip_bad=on_error == "skip",
            batch=batch,
            checkpoint=checkpoint,
            device=device,
            backend=backend,
            edits=said,
            **slides.asked_settings(asked),
        )
        return
    slides.refuse_for_patches(asked)
    slides.refuse_slides_without_to(inputs, IMAGE_SUFFIXES)

    def left() -> str:
        masks = sum(1 for _ in (out / "masks").rglob("[!.]*.png"))
        return f"the {masks} masks in {out / 'masks'} are whole" if masks else "nothing was written"

    with told_what_is_left(left), stages() as progress:
        said = edits_to_use(
            run, edits, data, checkpoint=checkpoint, device=device, backend=backend, progress=progress
        )
        result = api.segment_files(
            run,
            inputs,
            out,
            gate=gate,
            refine=refine,
            palette=palette,
            probabilities=probabilities,
            overlays=overlay,
            prototypes=prototypes,
            uncertainty=uncertainty,
            recurse=recurse,
            skip_bad=on_error == "skip",
            batch=batch,
            checkpoint=checkpoint,
            device=device,
            backend=backend,
            edits=said,
            progress=lambda done, total: progress("segmenting", done, total),
        )
    shares = ", ".join(f"{name} {share:.1%}" for name, share in result.shares.items())
    say(f"{result.written} masks in {out / 'masks'}" + (f"; mean area: {shares}." if shares else "."))
    if overlay and result.written:
        say(f"Overlays in {out / 'overlays'}.")
    if prototypes and result.written:
        say(f"Maps of prototypes in {out / 'prototypes'}.")
    if uncertainty and result.written:
        say(f"How sure they are: {out / 'uncertainty'}, 0 sure to 255 wholly unsure.")
    say(*result.notes, err=True)
    if result.skipped:
        say(f"Skipped {len(result.skipped)} of {result.written + len(result.skipped)} images:", err=True)
        say(*(f"  {sentence}" for sentence in result.skipped), err=True)
        raise typer.Exit(1)

"""`lpdseg evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lpdseg.choices import Backend, Background, Gate, Refinement, Split, WorstBy
from lpdseg.cli.common import DataClasses, Device, Edits, MaskValues, OfRun, edits_to_use
from lpdseg.cli.repeated import one_of, shown
from lpdseg.cli.stop import told_what_is_left
from lpdseg.cli.worst import worst_table, write_tables
from lpdseg.errors import SettingsError
from lpdseg.terminal import Terminal, say

if TYPE_CHECKING:
    from lpdseg.evaluation.protocol import Record


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR_OR_CSV", envvar="LPDSEG_DATA", help="A manifest CSV, or the folder of a data set."
        ),
    ],
    split: Annotated[Split, typer.Option(help="Which patches to compare.")] = "valid",
    gate: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(Gate),
            metavar=shown(Gate),
            help="Classes that a mask may show: those predicted for its image, those of its ground truth (oracle), "
            "or all (none). Repeatable. Default: predicted.",
        ),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(Background),
            metavar=shown(Background),
            help="Whether pixels whose truth is background count. Repeatable. Default: keep.",
        ),
    ] = None,
    refine: Annotated[Refinement | None, typer.Option(help="Instead of the run's own refinement.")] = None,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes the network: PyTorch, or on CPUs ONNX Runtime or OpenVINO.")
    ] = "torch",
    edits: Edits = None,
    offsets_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            help="With --edits: choose the classes' offsets anew, on the valid split of this data (--data itself, "
            "if you like). Thresholds stay.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the records there.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a row per record there.")] = None,
    worst: Annotated[
        int, typer.Option(min=0, metavar="N", help="Also list the N worst patches, under the first gate.")
    ] = 0,
    by: Annotated[
        WorstBy | None,
        typer.Option(
            help="What makes a patch worse: wrong pixels, unsure ones, or those on which runs differ (the default "
            "with --against). Otherwise error."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN", help="Another run to disagree with, or a folder of a benchmark with many. Repeatable."
        ),
    ] = None,
    patches: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a CSV there, a row per patch, the worst first.")
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a CSV there, a row per patient, the worst first."),
    ] = None,
) -> None:
    """Compare predicted masks with true ones: mIoU, Dice and intervals over patients.

    The network runs once, however many gates and background rules are asked for.
    """
    from lpdseg import api
    from lpdseg.checkpoint import read_state
    from lpdseg.cli.progress import stages
    from lpdseg.evaluation.protocol import table, write_csv
    from lpdseg.evaluation.worst import PatchFigures, worst_first
    from lpdseg.files import write_json
    from lpdseg.outputs import PATCH_ROWS, PATIENT_ROWS, RECORD_ROWS, RECORDS, check_outputs
    from lpdseg.tissue import TissueClasses

    wanted = bool(worst or patches or patients)
    if (by or against) and not wanted:
        raise SettingsError(
            "--by and --against say which patches are worst; add --worst N, --patches or --patients"
        )
    outputs = [(json, RECORDS), (csv, RECORD_ROWS), (patches, PATCH_ROWS), (patients, PATIENT_ROWS)]
    check_outputs(outputs, [run, data, edits, offsets_from, *(against or ())])
    figures: list[PatchFigures] = []
    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        gates = cast("list[Gate]", gate or ["predicted"])
        backgrounds = cast("list[Background]", background or ["keep"])
        said = edits_to_use(
            run, edits, offsets_from, "--offsets-from",
            checkpoint=checkpoint, device=device, backend=backend, progress=progress,
        )  # fmt: skip
        records = api.evaluate(
            run,
            data,
            split,
            list(dict.fromkeys(gates)),
            list(dict.fromkeys(backgrounds)),
            classes=classes,
            mask_values=mask_value or (),
            refine=refine,
            checkpoint=checkpoint,
            device=device,
            backend=backend,
            edits=said,
            against=against or (),
            patches=figures.extend if wanted else None,
            progress=progress,
        )
    if json is not None:
        write_json(json, records)
    if csv is not None:
        write_csv(records, csv)
    console, state = Terminal(), read_state(run, checkpoint)
    console.print(table(records))
    if wanted:
        order: WorstBy = by or ("disagreement" if against else "error")
        figures, trained = worst_first(figures, order), TissueClasses.from_dict(state["classes"])
        write_tables(figures, trained, backgrounds[0], patches, patients)
        if worst and figures:
            console.print()
            console.print(worst_table(figures, trained, order, worst))
            console.print()
    say(what_was_compared(records, state["valid"] is not None))
    say(what_was_rescaled(records, state.get("temperature") is not None))


def what_was_compared(records: "list[Record]", chosen: bool) -> str:
    """One line that says what the figures above it mean; `chosen`: training had masks to choose thresholds on."""
    first = records[0]
    patients = f"{first['patients']} patient{'' if first['patients'] == 1 else 's'}"
    if first["unit"] == "files":
        patients = "unknown patients"
    parts = [f"{first['images']} images of {patients}, split {first['split']}."]
    gates = {entry["gate"] for entry in records}
    if "predicted" in gates:
        parts.append("Gate predicted: a mask shows only classes found in its image;")
        parts.append(
            "the thresholds of that are 0.5, since training had no masks to choose them on."
            if not chosen
            else "the thresholds of that were chosen on this very split, so expect less on new patients."
            if first["split"] == "valid"
            else "the thresholds of that come from the valid split."
        )
    if "oracle" in gates:
        parts.append("Gate oracle: the true classes of each image are given; only for comparison with papers.")
    if "none" in gates:
        parts.append("Gate none: a mask may show every class.")
    if first.get("offsets_data") is not None:
        parts.append(
            f"Offsets were chosen under the edits, on the valid split of data {first['offsets_data'][:12]}."
        )
    return " ".join(parts)


def what_was_rescaled(records: "list[Record]", found: bool) -> str:
    """One line that says what the ECE means; `found`: the run has a temperature of its own."""
    split, reliability = records[0]["split"], records[0]["reliability"]
    about = "ECE: how far the probability of each pixel's likeliest class is from how often it is right;"
    if not found:
        return (
            f"{about} temperature 1, since the run has none (it was trained by an earlier version, or without "
            "validation masks)."
        )
    where = "on this very split" if split == "valid" else "on the valid split"
    return (
        f"{about} with the temperature {reliability['temperature']:g} of training, found {where}, and with T = 1."
    )

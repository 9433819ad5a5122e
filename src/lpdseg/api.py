"""The verbs of the package, for Python: train, load, evaluate, segment. The command line calls these functions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.checkpoint import one_state
from lpdseg.choices import Backend, Background, EncoderName, Gate, Palette, Split
from lpdseg.data.corrections import Corrections
from lpdseg.data.opening import same_classes
from lpdseg.data.records import Manifest, content_digest
from lpdseg.errors import SettingsError
from lpdseg.evaluation.about import about_split, check_offsets
from lpdseg.evaluation.calibration import choose_offsets as offsets_under_edits
from lpdseg.evaluation.protocol import Record, Records
from lpdseg.evaluation.split import observe_split, read_labelled, score_split
from lpdseg.evaluation.worst import PatchFigures, patch_figures
from lpdseg.export.int8 import Quantised
from lpdseg.guard import end_if_run_again
from lpdseg.quiet import quiet
from lpdseg.segmenting.edited import EditedSegmenter, edited
from lpdseg.segmenting.edits import Edits, Offsets, as_read
from lpdseg.segmenting.loading import load_others, load_prototypes, load_segmenter, weights_digest
from lpdseg.segmenting.patches import find_images, read_image_file
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import Settings
from lpdseg.training.cell import Told, by_stage, default_reporter
from lpdseg.training.engine import Engine
from lpdseg.training.loop import train as run_training
from lpdseg.training.options import changed_settings, in_few_steps, settings_before, training_data
from lpdseg.training.progress import Reporter
from lpdseg.training.record import versions
from lpdseg.training.result import TrainResult
from lpdseg.training.start import begin
from lpdseg.workflows.graphs import export_graph, export_int8
from lpdseg.workflows.patches import Exported, export_patches
from lpdseg.workflows.slides.many import segment_slides
from lpdseg.workflows.slides.options import SlideOptions
from lpdseg.workflows.slides.result import SlideResult

__all__ = [
    "Exported",
    "Quantised",
    "SlideOptions",
    "SlideResult",
    "Told",
    "TrainResult",
    "choose_offsets",
    "evaluate",
    "export_graph",
    "export_int8",
    "load",
    "load_for_prototypes",
    "report",
    "segment",
    "segment_files",
    "segment_slides",
    "train",
]


def train(
    data: str | Path | Manifest,
    out: str | Path,
    *,
    preset: str | Path | Settings | None = None,
    encoder: EncoderName | None = None,
    weights: str | Path | None = None,
    classes: str | None = None,
    mask_values: Sequence[str] | None = None,
    method: str | None = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    epochs: float | None = None,
    resume: bool = False,
    start: str | Path | None = None,
    edits: str | Path | Edits | None = None,
    corrections: str | Path | Corrections | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Trains on the image-level labels of `data` and leaves the run in the folder `out`.

    **Arguments:**

    - `data`: what `load_data` reads, or a manifest.
    - `preset`: the name of a preset, a YAML file, or settings; by default the plain settings, or those of the run
      where it is resumed, or of `start`.
    - `encoder`: its architecture; by default that of the settings.
    - `weights`: folder or hub id of the encoder's pretrained weights, or `imagenet`, see `model.weights`.
    - `classes`: a class preset or names separated by commas; by default those of the data's `classes.yaml`, else of
      the settings, else what the data tell.
    - `mask_values`: what values of masks stand for, such as `["255=gland"]`; see `declare_values`.
    - `method`: what is trained, see `lpdseg.methods`; by default that of the settings, which is LPD.
    - `overrides`: such as `train.lr=1e-4`; `encoder`, `weights`, `classes`, `mask_values`, `method`, `seed` and
      `epochs` are set after them.
    - `resume`: go on with the run in `out`.
    - `start`: a run whose weights this one goes on from; its classes and network must be the same.
    - `edits`: what an expert says of the prototypes of `start`, see `load`: patches that show one which was moved
      are taught its new class.
    - `corrections`: what an expert has drawn on patches and said of labels, see `lpdseg.data.corrections`: it is
      learnt beside the data, from `start`; see `in_few_steps` for how long and at what rate.
    - `device`, `devices`, `nodes`: see `Engine`.
    - `reporter`: who is told of progress; by default a notebook's cell, else nobody.

    **Raises:** `LpdsegError` of the kind that fits.
    """
    end_if_run_again()
    run = Path(out)
    reporter = default_reporter() if reporter is None else reporter
    resumed = resume and preset is None and (run / "settings.yaml").is_file()
    continued = start is not None and preset is None and not resumed
    preset = settings_before(run if resumed else None, start) if preset is None else preset
    overrides = list(overrides)
    chosen = (
        classes is not None or resumed or continued or any(text.startswith("data.classes=") for text in overrides)
    )
    settings = changed_settings(
        preset,
        [*overrides, *([] if method is None else [f"method={method}"])],
        {
            "model": {"encoder": encoder, "weights": None if weights is None else str(weights)},
            "data": {"classes": classes, "mask_values": None if mask_values is None else tuple(mask_values)},
            "train": {"seed": seed, "epochs": epochs},
        },
    )
    settings, manifest = training_data(settings, data, chosen)
    if corrections is not None and continued:
        settings = in_few_steps(settings, len(manifest.split("train")), overrides, epochs)
    for note in manifest.notes:
        reporter.note(note)
    with quiet():
        engine = Engine(device, devices, nodes)
        manifest, started, taught = begin(run, manifest, start, edits, corrections, resume, device, reporter)
        return run_training(
            settings, manifest, run, resume=resume, engine=engine, reporter=reporter, start=started, taught=taught
        )


def load(
    run: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    edits: str | Path | Edits | None = None,
    **changes: Any,
) -> Segmenter:
    """A trained run as a segmenter; `changes` are prediction settings such as `refine="none"`.

    `backend` is what computes the network: `torch`, or on CPUs `onnx` (ONNX Runtime) or `openvino`, which export it
    into the run's folder first. `edits` are what an expert says of its prototypes: a file, see
    `lpdseg.segmenting.edits`.

    **Raises:** `CheckpointError` where the folder holds no such checkpoint; `SettingsError` for an unknown change,
    a backend whose extra is not installed, or edits of a run whose masks are not made of prototypes; `DataError`
    for edits that cannot be read or do not fit the run.
    """
    with quiet():
        return load_segmenter(Path(run), checkpoint, device, backend, edits, **changes)


def load_for_prototypes(run: str | Path, checkpoint: str = "best", device: str = "auto") -> Segmenter:
    """A trained run as a segmenter around the network that holds its prototypes, which for `pbip` is stage 1's.

    **Raises:** `CheckpointError` where the folder holds no such checkpoint.
    """
    with quiet():
        return load_prototypes(Path(run), checkpoint, device)


def evaluate(
    run: str | Path | Segmenter,
    data: str | Path | Manifest,
    split: str = "valid",
    gates: Sequence[Gate] = ("predicted",),
    backgrounds: Sequence[Background] = ("keep",),
    *,
    classes: str | None = None,
    mask_values: Sequence[str] = (),
    refine: str | None = None,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    edits: str | Path | Edits | None = None,
    against: Sequence[str | Path] = (),
    patches: Callable[[list[PatchFigures]], None] | None = None,
    progress: Told | None = None,
) -> list[Record]:
    """Compares predicted masks with those of a split: one record per gate and background rule.

    The network runs once, whatever the number of gates. Notes say who is left out since corrections were learnt.

    **Arguments:**

    - `run`: a run's folder, or a segmenter, to which `checkpoint`, `device` and `backend` mean nothing.
    - `data`: what `load_data` reads, or a manifest; its classes must be those of the run.
    - `classes`: says what the data's classes are where its files do not.
    - `mask_values`: what values of masks stand for, such as `["255=gland"]`.
    - `refine`: `none` or `crf` instead of the run's own.
    - `edits`: see `load`; what an oracle gate opens are then the prototypes that count for the true classes.
      Those of `choose_offsets` must come from other patches, unless `split` is `valid`.
    - `patches`: told the figures of each patch under the first gate, see `lpdseg.evaluation.worst`.
    - `against`: other runs, or folders that hold some, such as a benchmark's: on how much of a patch all disagree.

    **Returns:** records, see `lpdseg.evaluation.record`; all figures are per cent.

    **Raises:** `CheckpointError` where the run and the data have other classes; `DataError` where the split has no
    masks.
    """
    segmenter = edited(run, edits) if isinstance(run, Segmenter) else load(run, checkpoint, device, backend, edits)
    if refine is not None:
        segmenter = segmenter.with_settings(refine=refine)
    manifest = same_classes(segmenter.classes, data, classes, mask_values)
    compared = [] if patches is None else [Path(one) for one in against]
    others = load_others(compared, segmenter, None if isinstance(run, Segmenter) else Path(run), device)
    check_offsets(segmenter, manifest, split)
    tell = by_stage(progress)
    manifest, left_out = segmenter.learnt.leave_out(manifest, split)
    batches = read_labelled(manifest.split(split), manifest.classes, segmenter.settings.batch, split)
    about = about_split(manifest, split, batches, left_out)
    observed = observe_split(segmenter, batches, tell("predicting"))
    if patches is not None:
        patches(
            patch_figures(
                segmenter.with_settings(gate=gates[0]),
                manifest.with_masks(split),
                batches,
                evidence=observed.evidence,
                others=[other.with_settings(gate=gates[0]) for other in others],
                progress=tell("looking at each patch"),
            )
        )
    return Records(
        entry
        for gate in gates
        for entry in score_split(
            segmenter.with_settings(gate=gate), observed, split, backgrounds, tell(f"scoring, gate {gate}"), about
        )
    )


def choose_offsets(
    run: str | Path,
    edits: str | Path | Edits,
    data: str | Path | Manifest,
    *,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    progress: Told | None = None,
) -> Edits:
    """Chooses the classes' offsets anew: those of the highest mIoU of the run's masks under edits on the validation
    split of `data`, without refinement. Thresholds stay as they are.

    **Returns:** the edits with these offsets, to give for `edits` wherever the same run is used.

    **Raises:** as `load`; `CheckpointError` where the run and the data have other classes; `DataError` where the
    validation split has no masks.
    """
    read = as_read(edits)
    segmenter = load(run, checkpoint, device, backend, read)
    assert isinstance(segmenter, EditedSegmenter) and read is not None
    manifest = same_classes(segmenter.classes, data, None)
    manifest, _ = segmenter.learnt.leave_out(manifest, "valid")
    records = manifest.split("valid")
    batches = read_labelled(records, manifest.classes, segmenter.settings.batch, "valid")
    told = by_stage(progress)("choosing offsets")
    values = offsets_under_edits(segmenter, observe_split(segmenter, batches, told))
    images = frozenset(content_digest(record.path) for record in records)
    return replace(read, offsets=Offsets(values, manifest.fingerprint(), images))


def report(
    run: str | Path | Sequence[str | Path],
    data: str | Path | Manifest | None = None,
    out: str | Path | None = None,
    *,
    split: Split | None = None,
    images: int = 6,
    palette: Palette | None = None,
    classes: str | None = None,
    mask_values: Sequence[str] = (),
    checkpoint: str = "best",
    device: str = "auto",
    progress: Told | None = None,
) -> Path:
    """Writes a page about a run: figures, classes, patches, prototypes, losses, settings and licences; or one about
    several of the same classes, side by side.

    **Arguments:**

    - `data`: what `load_data` reads, or a manifest; None: what the (first) run was trained on.
    - `out`: the file; None: `report.html` in the folder of the one run.
    - `split`: whose patches are scored and shown; None: `test`, else `valid`, where it has masks, else none.
    - `palette`: `own` or `colour-blind` instead of the run's own.
    - `classes`, `mask_values`, `checkpoint`, `device`: as `evaluate`.

    **Returns:** the path of the page.

    **Raises:** as `evaluate`; `SettingsError` for several runs without `out`; `OutputError`.
    """
    from lpdseg.insight.comparison import page_place, write_page
    from lpdseg.insight.run_record import data_for

    folders = [Path(one) for one in ([run] if isinstance(run, str | Path) else run)]
    page_place(folders, out)  # which refuses what cannot be written before the work
    changes: dict[str, Any] = {} if palette is None else {"palette": palette}
    segmenters = [load(folder, checkpoint, device, **changes) for folder in folders]
    manifest = data_for(folders, [one.classes for one in segmenters], data, classes, mask_values)
    split = split or next((name for name in ("test", "valid") if any(manifest.with_masks(name))), None)
    records, patches = [list[Record]() for _ in folders], list[list[PatchFigures]]()
    if split is not None:
        gates: tuple[Gate, ...] = ("predicted", "oracle")
        records = [
            evaluate(one, manifest, split, gates, patches=patches.append, progress=progress) for one in segmenters
        ]
    shown: dict[str, Any] = {"split": split, "images": images, "patches": patches}
    return write_page(folders, segmenters, records, manifest, out, **shown)


def segment(run: str | Path | Segmenter, image: str | Path | UInt8[np.ndarray, "H W 3"]) -> Segmentation:
    """Segments one image, an 8-bit RGB file or array. For many, `load` the run once, or see `segment_files`.

    **Raises:** `CheckpointError`, `DataError`.
    """
    segmenter = run if isinstance(run, Segmenter) else load(run)
    return segmenter.segment(read_image_file(Path(image)) if isinstance(image, str | Path) else image)


def segment_files(
    run: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    gate: Gate | None = None,
    refine: str | None = None,
    palette: Palette | None = None,
    probabilities: bool = False,
    overlays: bool = False,
    prototypes: bool = False,
    uncertainty: bool = False,
    recurse: bool = True,
    skip_bad: bool = False,
    batch: int | None = None,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    edits: str | Path | Edits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Segments images and folders of images, and leaves masks and a record below `out`; see `export_patches`.

    **Arguments:**

    - `run`: the folder of a trained run.
    - `gate`: `predicted`, or `none` for masks that may show every class; by default the run's own.
    - `refine`: `none` or `crf` instead of the run's own.
    - `palette`: `own` or `colour-blind` instead of the run's own.
    - `recurse`: look into folders below those of `inputs`.
    - `backend`, `edits`: see `load`.

    **Raises:** `CheckpointError`, `DataError`, `OutputError`, `SettingsError`.
    """
    end_if_run_again()
    results = [Path(out), *(Path(out) / name for name in ("masks", "overlays", "prototypes", "uncertainty"))]
    images = find_images([Path(source) for source in inputs], recurse=recurse, leave_out=results)
    asked = {"gate": gate, "refine": refine, "palette": palette}
    changes = {name: value for name, value in asked.items() if value is not None}
    if gate == "oracle":
        raise SettingsError("the oracle gate needs ground-truth labels; use the gate 'predicted' or 'none'")
    with one_state(Path(run), checkpoint):
        segmenter = load(run, checkpoint, device, backend, edits, **changes)
        weights = weights_digest(Path(run), checkpoint)
    return export_patches(
        segmenter,
        images,
        Path(out),
        probabilities=probabilities,
        overlays=overlays,
        prototypes=prototypes,
        uncertainty=uncertainty,
        skip_bad=skip_bad,
        batch=batch,
        described={
            "run": str(run),
            "checkpoint": checkpoint,
            "backend": backend,
            "weights_sha256": weights,
            "versions": versions(),
        },
        progress=progress,
    )

"""Many slides, some at once: resumable, in shards, on one machine or a cluster."""

import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lpdseg.alone import BusyError
from lpdseg.checkpoint import check_apart, one_state
from lpdseg.cores import allowed_cores
from lpdseg.errors import LpdsegError, SettingsError
from lpdseg.extras import needed
from lpdseg.files import refused
from lpdseg.guard import end_if_run_again
from lpdseg.quiet import quiet
from lpdseg.segmenting.edits import as_read
from lpdseg.segmenting.loading import about, load_segmenter, trained_on, weights_digest
from lpdseg.segmenting.prototype_classes import prototype_classes
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Engine, LocalEngine
from lpdseg.segmenting.slides.meter import Pace
from lpdseg.sharing.hub import local
from lpdseg.slides.readers import SlideFile, find_slides
from lpdseg.training.record import versions
from lpdseg.workflows.slides.abreast import MOST_SLIDES, abreast
from lpdseg.workflows.slides.cluster import RayEngine
from lpdseg.workflows.slides.computed import computed_by
from lpdseg.workflows.slides.kinds import KINDS, parse_kinds
from lpdseg.workflows.slides.layout import WORK
from lpdseg.workflows.slides.mpp_table import with_table
from lpdseg.workflows.slides.one import Stage, Work, do_slide
from lpdseg.workflows.slides.options import SlideOptions
from lpdseg.workflows.slides.result import SlideResult
from lpdseg.workflows.slides.shard import take_shard
from lpdseg.workflows.slides.summary import summary_path, write_summary
from lpdseg.workflows.slides.wanted import Wanted, resolve_windows
from lpdseg.workflows.tables import read_table

SlideProgress = Callable[[int, int, Path, Stage, Pace | None], None]
"""Called with the number of the slide, of how many, its path, what is being done, and how fast."""


def segment_slides(
    run: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    options: SlideOptions | None = None,
    progress: SlideProgress | None = None,
    ended: Callable[[SlideResult], None] | None = None,
    **changes: Any,
) -> list[SlideResult]:
    """Segments whole slides, and leaves what is asked for below `out`; `lpdseg.workflows.slides` has the layout.

    A slide whose outputs are there, and were made from the same slide with the same model and settings, is kept.
    A process that is killed leaves no file that is half written; the next run goes on and makes the same outputs.

    Slides are read by other processes, so a script that calls this needs `if __name__ == "__main__"`, unless
    `workers` is 0.

    ```python
    segment_slides("runs/first", ["SLIDES"], "results", to="geojson,csv", overlap=0.25)
    ```

    **Arguments:**

    - `run`: the folder of a trained run.
    - `inputs`: slides, folders, patterns, or CSVs with a column `slide` and optionally `mpp`; see `find_slides`.
    - `options`: see `SlideOptions`; `changes` are single ones of them by name, such as `to="png"`.
    - `progress`, `ended`: told as slides go, and as each has ended; of slides that are done at once the first
      tells, from a thread of its own.

    **Returns:** how each slide ended, in sorted order of their paths.

    **Raises:** `SettingsError`, `CheckpointError`, `OutputError`; `SlideError` where there are no slides, or where
    one fails and `skip_bad` is not set; `TypeError` for an option that does not exist.
    """
    end_if_run_again()
    run, out = local(run), Path(out)
    options = replace(options or SlideOptions(), **changes)
    kinds = parse_kinds(options.to, options.prototypes)
    needed("slides", "zarr", *(module for kind in kinds for module in KINDS[kind].modules))
    found = with_table(find_slides(inputs, leave_out=[out]), options.mpp_table)
    slides = take_shard(found, options.shard)
    checkpoint, backend = options.checkpoint, options.backend
    seen = resolve_windows(run, trained_on(run, checkpoint), options)
    edits = as_read(options.edits)  # once, so that all processes have the same
    predicting: dict[str, Any] = {**options.predicting}
    load = partial(load_segmenter, run.absolute(), checkpoint, backend=backend, edits=edits, **predicting)
    with quiet(), one_state(run, checkpoint):
        segmenter = load(device="cpu" if options.engine == "ray" else options.device)
        weights = weights_digest(run, checkpoint)
        told = about(run, checkpoint, segmenter)
    if options.prototypes:
        prototype_classes(segmenter)  # which raises where there are none
    check_apart(out)
    _check_writable(out)
    summary = summary_path(out, options.shard)
    read_table(summary, "slide")  # a table of something else is met now
    with ExitStack() as stack:
        starting, engines = threading.Lock(), list[Engine]()

        def started() -> Engine:
            with starting:
                if not engines:
                    if options.engine == "ray":
                        made: Engine = _cluster(partial(load, weights=weights), options)
                    else:
                        made = local_engine(segmenter, options.workers)
                    engines.append(stack.enter_context(made))
            return engines[0]

        wanted = Wanted(options, kinds, *seen, options.batch or segmenter.settings.batch)
        described = {
            "run": str(run),
            "about": told,
            "checkpoint": checkpoint,
            "computed": {
                "engine": options.engine, "backend": backend, "device": options.device, "batch": wanted.batch
            },
            "versions": versions() | _library_versions(),
        }  # fmt: skip
        computed = computed_by(segmenter, run, weights, options)
        work = Work(out, wanted, segmenter, weights, computed, started, described, len(found))
        results, ours = list[SlideResult](), list[SlideResult]()
        try:
            with closing(_each(slides, work, options, progress)) as ends:
                for result, error in ends:
                    results.append(result)
                    if not isinstance(error, BusyError):  # whose row is of the other process
                        ours.append(result)
                    if ended is not None:
                        ended(result)
        finally:
            write_summary(summary, ours, segmenter.classes.names)
            with suppress(OSError):
                (out / WORK).rmdir()
    return results


def _each(
    slides: Sequence[SlideFile], work: Work, options: SlideOptions, progress: SlideProgress | None
) -> Generator[tuple[SlideResult, LpdsegError | None], None, None]:
    """How each slide ended, and the error of one that failed, in order; some are done at once."""

    def done(
        numbered: tuple[int, SlideFile], is_first: Callable[[], bool]
    ) -> tuple[SlideResult, LpdsegError | None]:
        number, slide = numbered
        last: tuple[Stage, Pace | None] | None = None

        def told(stage: Stage, pace: Pace | None) -> None:
            nonlocal last
            if is_first() and progress is not None and (stage, pace) != last:
                last = stage, pace
                progress(number, len(slides), slide.path, stage, pace)

        try:
            return do_slide(slide, work, told), None
        except SettingsError:  # it would meet every slide
            raise
        except LpdsegError as error:
            return SlideResult(slide.path, "failed", str(error)), error

    most = 1 if options.engine == "ray" else min(MOST_SLIDES, max(2, allowed_cores() // 4), len(slides))
    with closing(abreast([*enumerate(slides, start=1)], done, most)) as ends:
        for result, error in ends:
            yield result, error
            if error is not None and not options.skip_bad:
                raise error


def local_engine(segmenter: Segmenter, workers: int | None) -> LocalEngine:
    """The engine of this machine. Half of the cores read where nobody says how many; the others have the files."""
    return LocalEngine(segmenter, max(1, allowed_cores() // 2) if workers is None else workers)


def _cluster(load: Callable[..., Segmenter], options: SlideOptions) -> Engine:
    device, workers = options.device, options.workers
    if device not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"workers of a cluster choose their own device, not {device}; use auto, cpu or cuda")
    if workers == 0:
        raise SettingsError(
            "a cluster needs at least one worker; leave --workers out for as many as it has room for"
        )
    on_processor = device == "cpu" or options.backend != "torch"
    gpu = False if on_processor else True if device == "cuda" else None
    return RayEngine(partial(load, device=device), address=options.address, workers=workers, gpu=gpu)


def _library_versions() -> dict[str, str]:
    """Of what reads and writes slides, where it is installed."""
    found = {}
    for name in ("openslide-python", "openslide-bin", "tifffile", "imagecodecs", "rasterio", "shapely", "zarr"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _check_writable(out: Path) -> None:
    """Fails before the first slide is computed, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise refused(f"below {out}", error) from error

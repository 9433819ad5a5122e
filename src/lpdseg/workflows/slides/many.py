"""Many slides, one after another: resumable, in shards, on one machine or a cluster."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from lpdseg.errors import LpdsegError, OutputError, SettingsError
from lpdseg.extras import needed
from lpdseg.model.runtime import Backend
from lpdseg.quiet import quiet
from lpdseg.segmenting.bundle import load_segmenter, trained_on, weights_digest
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Engine, LocalEngine
from lpdseg.segmenting.slides.meter import Pace
from lpdseg.settings import Gate
from lpdseg.slides.readers import SlideFile, find_slides
from lpdseg.training.record import versions
from lpdseg.workflows.slides.cluster import RayEngine
from lpdseg.workflows.slides.layout import KINDS, WORK, parse_kinds
from lpdseg.workflows.slides.mpp_table import with_table
from lpdseg.workflows.slides.one import Stage, Work, do_slide
from lpdseg.workflows.slides.result import SlideResult
from lpdseg.workflows.slides.shard import take_shard
from lpdseg.workflows.slides.summary import summary_path, write_summary
from lpdseg.workflows.slides.wanted import Wanted, check_figures, resolve_windows

_MOST_READERS = 4

SlideProgress = Callable[[int, int, Path, Stage, Pace | None], None]
"""Called with the number of the slide, of how many, its path, what is being done, and how fast."""


def segment_slides(
    run: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    to: str | Iterable[str] = "geojson,csv",
    mpp: float | None = None,
    mpp_table: str | Path | None = None,
    model_mpp: float | None = None,
    window: int | None = None,
    overlap: float | None = None,
    gate: Gate | None = None,
    refine: str | None = None,
    simplify_um: float = 0.0,
    minimum_um2: float = 0.0,
    from_bounds: bool = True,
    skip_bad: bool = False,
    shard: tuple[int, int] | None = None,
    redo: bool = False,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    workers: int | None = None,
    batch: int | None = None,
    checkpoint: str = "best",
    device: str = "auto",
    backend: Backend = "torch",
    progress: SlideProgress | None = None,
    ended: Callable[[SlideResult], None] | None = None,
) -> list[SlideResult]:
    """Segments whole slides, and leaves what is asked for below `out`; `lpdseg.workflows.slides` has the layout.

    A slide whose outputs are there, and were made from the same slide with the same model and settings, is kept.
    A process that is killed leaves no file that is half written; the next run goes on and makes the same outputs.

    Slides are read by other processes, so a script that calls this needs `if __name__ == "__main__"`, unless
    `workers` is 0.

    **Arguments:**

    - `run`: the folder of a trained run.
    - `inputs`: slides, folders, patterns, or CSVs with a column `slide` and optionally `mpp`; see `find_slides`.
    - `to`: what slides become: `geojson`, `geojson.gz`, `ome-tiff`, `zarr`, `png`, `csv`.
    - `mpp`: microns per pixel of every slide's level 0, whatever it says of itself.
    - `mpp_table`: a CSV with the columns `slide` (its name) and `mpp`, for slides that say nothing; see
      `resolve_mpp` for the order of belief.
    - `model_mpp`, `window`: microns per pixel and side in pixels of the patches that the model learnt from, where
      the run does not say, or to see slides otherwise.
    - `overlap`: share of a window's side that neighbours share, in 0..0.9; 0.5 by default.
    - `gate`, `refine`: instead of the run's own. The gate acts on each window, as it was calibrated on patches.
    - `simplify_um`, `minimum_um2`: of GeoJSON, see `write_geojson`.
    - `from_bounds`: coordinates of GeoJSON count from the corner of the part of a slide that was scanned, as in
      QuPath, which crops slides to it; otherwise from the corner of level 0.
    - `skip_bad`: go on after a slide that fails; else its error is raised.
    - `shard`: (i, n): do every n-th slide from the i-th on, as one of n jobs.
    - `redo`: do slides whose outputs are there as well.
    - `engine`: `local`, or `ray` for the cluster at `address` (by default one on this machine).
    - `workers`: processes that read slides, by default up to 4, or 0 for none but this one; with `ray`, models, by
      default one per GPU or, without any, per processor.
    - `batch`: windows at once; halved where they do not fit in memory. Another size may change results by rounding.
    - `checkpoint`, `device`, `backend`: see `lpdseg.load`.
    - `progress`, `ended`: told as slides go, and as each has ended.

    **Returns:** how each slide ended, in sorted order of their paths.

    **Raises:** `SettingsError`, `CheckpointError`, `OutputError`; `SlideError` where there are no slides, or where
    one fails and `skip_bad` is not set.
    """
    run, out = Path(run), Path(out)
    kinds = parse_kinds(to)
    needed("slides", "zarr", *(module for kind in kinds for module in KINDS[kind].modules))
    check_figures(simplify_um, minimum_um2, mpp)
    slides = take_shard(with_table(find_slides(inputs, leave_out=[out]), mpp_table), shard)
    seen = resolve_windows(run, trained_on(run, checkpoint), model_mpp, window, overlap)
    if gate == "oracle":
        raise SettingsError("the oracle gate needs ground-truth labels; use the gate 'predicted' or 'none'")
    asked = {"gate": gate, "refine": refine}
    changes = {name: value for name, value in asked.items() if value is not None}
    load = partial(load_segmenter, run.absolute(), checkpoint, backend=backend, **changes)
    with quiet():
        segmenter = load(device="cpu" if engine == "ray" else device)
    _check_writable(out)
    with ExitStack() as stack:

        @cache
        def started() -> Engine:
            if engine == "ray":
                return stack.enter_context(_cluster(load, address, workers, device, backend))
            return stack.enter_context(_local(segmenter, workers))

        at_once = batch or segmenter.settings.batch
        work = Work(
            out,
            Wanted(kinds, *seen, at_once, simplify_um, minimum_um2, from_bounds),
            segmenter,
            weights_digest(run, checkpoint),
            started,
            mpp,
            redo,
            {
                "run": str(run),
                "checkpoint": checkpoint,
                "computed": {"engine": engine, "backend": backend, "device": device, "batch": at_once},
                "versions": versions() | _library_versions(),
            },
        )
        results: list[SlideResult] = []
        try:
            for result in _each(slides, work, skip_bad, progress):
                results.append(result)
                if ended is not None:
                    ended(result)
        finally:
            left = [slide.path for slide in slides[len(results) :]]
            write_summary(summary_path(out, shard), results, segmenter.classes.names, left)
            with suppress(OSError):
                (out / WORK).rmdir()
    return results


def _each(
    slides: Sequence[SlideFile], work: Work, skip_bad: bool, progress: SlideProgress | None
) -> Iterable[SlideResult]:
    for number, slide in enumerate(slides, start=1):

        def told(stage: Stage, pace: Pace | None, number: int = number, path: Path = slide.path) -> None:
            if progress is not None:
                progress(number, len(slides), path, stage, pace)

        try:
            yield do_slide(slide, work, told)
        except SettingsError:  # it would meet every slide
            raise
        except LpdsegError as error:
            yield SlideResult(slide.path, "failed", str(error))
            if not skip_bad:
                raise


def _local(segmenter: Segmenter, workers: int | None) -> Engine:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return LocalEngine(segmenter, min(_MOST_READERS, max(1, cores // 2)) if workers is None else workers)


def _cluster(
    load: Callable[..., Segmenter], address: str | None, workers: int | None, device: str, backend: Backend
) -> Engine:
    if device not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"workers of a cluster choose their own device, not {device}; use auto, cpu or cuda")
    if workers == 0:
        raise SettingsError(
            "a cluster needs at least one worker; leave --workers out for as many as it has room for"
        )
    on_processor = device == "cpu" or backend != "torch"
    gpu = False if on_processor else True if device == "cuda" else None
    return RayEngine(partial(load, device=device), address=address, workers=workers, gpu=gpu)


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
        raise OutputError(
            f"cannot write below {out} ({error.strerror}); change its rights or choose another folder"
        ) from error

"""One slide: kept where its outputs are still true, else segmented and written."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lpdseg.alone import only_one
from lpdseg.errors import LpdsegError, OutputError
from lpdseg.export.areas import ClassArea, class_areas
from lpdseg.files import absolute, check_name, recover_folder, refused
from lpdseg.plain import plain_text
from lpdseg.segmenting.prototype_classes import prototype_classes
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Engine, Job
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.segmenting.slides.meter import Pace
from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.segmenting.slides.stream import RowStore, stream_labels
from lpdseg.segmenting.slides.unsure import UnsureRows
from lpdseg.segmenting.slides.view import SlideSource
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.grid import Grid
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.mpp import resolve_mpp, warn_if_far, warn_if_other
from lpdseg.slides.readers import SlideFile, open_slide
from lpdseg.slides.slide import Mpp
from lpdseg.slides.tissue_mask import TissueMask, find_tissue
from lpdseg.temporary import remove
from lpdseg.workflows.slides.abreast import Room
from lpdseg.workflows.slides.kinds import KINDS, Segmented, origin_of
from lpdseg.workflows.slides.layout import leftovers, lock_path, output_path, state_path, work_path
from lpdseg.workflows.slides.result import SlideResult
from lpdseg.workflows.slides.state import (
    VERSION,
    check_unchanged,
    describe_output,
    identity,
    is_finished,
    left_by,
    read_state,
    write_state,
)
from lpdseg.workflows.slides.wanted import Wanted

Stage = Literal["reading", "looking for tissue", "segmenting", "writing"]
Told = Callable[[Stage, Pace | None], None]
"""Called with what is being done to a slide, and how fast where that is known; many times while it is written."""


@dataclass(frozen=True)
class Work:
    """What is the same for all slides of a run.

    - `engine`: gives the engine, which is made when the first slide needs it.
    - `weights`: digest of the model's.
    - `computed`: see `computed_by`.
    - `described`: for the record.
    - `slides`: how many were found, also for other shards.
    - `room`: for those that are done at once.
    """

    out: Path
    wanted: Wanted
    segmenter: Segmenter
    weights: str
    computed: dict[str, Any]
    engine: Callable[[], Engine]
    described: dict[str, Any]
    slides: int = 1
    room: Room = field(default_factory=Room)


def do_slide(file: SlideFile, work: Work, told: Told) -> SlideResult:
    """Segments a slide, unless its outputs are there and still true.

    Whatever happens, every file is whole or not there, and a state never says more than is there.

    **Raises:** `LpdsegError` that says why there is no result, once it is in the slide's state.
    """
    began, stem = time.monotonic(), file.path.stem
    for path in (state_path(work.out, stem), *(output_path(work.out, kind, stem) for kind in work.wanted.kinds)):
        check_name(path)
    held = lock_path(work.out, stem)
    busy = (
        f"another process is segmenting this slide ({held} is locked); wait for it, or give each job slides of its "
        "own with --shard"
    )
    with only_one(held, busy, work.out), ExitStack() as stack:
        slide = stack.enter_context(closing(open_slide(file.path)))
        mpp = resolve_mpp(file.path, slide.facts, work.wanted.options.mpp, file.mpp, work.slides)
        depends = work.wanted.depends(slide.facts.bounds, work.segmenter.how_sure)
        settings = {"version": VERSION, **work.wanted.settings(work.segmenter, work.weights, work.computed, mpp)}
        told("reading", None)
        here, before = absolute(file.path), read_state(work.out, stem)
        moved = before is not None and before["path"] != here
        known = identity(file.path, None if before is None or moved else before["slide"])
        if not state_path(work.out, stem).exists():
            _refuse_others(work.out, stem, depends)
        if before is not None and moved and before["slide"]["sha256"] != known["sha256"]:
            raise OutputError(
                f"{work.out} has results of another slide of that name, {before['path']}; {file.path} would "
                "replace them: choose another folder, or rename the slide"
            )
        if not work.wanted.options.redo and is_finished(before, work.out, stem, known, settings, depends):
            assert before is not None
            if (before["path"], before["slide"]) != (here, known):  # moved, copied or touched
                write_state(work.out, stem, before | {"path": here, "slide": known})
            return _result(file.path, "kept", before, mpp, work, time.monotonic() - began)
        _clean(work.out, stem)
        true, untrue = left_by(before, work.out, stem, known, settings)
        state: dict[str, Any] = {
            "status": "running",
            "path": here,
            "slide": known,
            "settings": settings,
            "outputs": {kind: noted for kind, noted in true.items() if kind not in depends},
            **({"unsure_share": (before or {}).get("unsure_share")} if _of_uncertainty(true) else {}),
            "earlier": untrue,
            "slide_mpp_source": mpp.source,
            "slide_mpp_told": None if slide.facts.mpp is None else asdict(slide.facts.mpp),
            "started": _now(),
            **work.described,
        }
        write_state(work.out, stem, state)
        view = AtMpp(slide, mpp, work.wanted.mpp)
        with _recorded(work.out, stem, state), _taken_back(work.out, stem, depends):
            other = warn_if_other(file.path, slide.facts, file.mpp, mpp)
            with work.room.of(max(view.size)):
                done = _segment(view, file.path, known["sha256_of_ends"], work, depends, told)
            check_unchanged(file.path, known)
            done["notes"] = [*([] if other is None else [other]), *done["notes"]]
            done["outputs"] = state["outputs"] | done["outputs"]
            seconds = time.monotonic() - began
            left = {kind: noted for kind, noted in untrue.items() if kind not in depends}
            ending = {"status": "finished", "earlier": left, "seconds": round(seconds, 1)}
            write_state(work.out, stem, state | done | ending)
    replaced = dict.fromkeys(noted["why"] for kind, noted in untrue.items() if kind in depends)
    done["notes"] = [*done["notes"], *(f"made again: what was there before was of {why}" for why in replaced)]
    return _result(file.path, "segmented", state | done | ending, mpp, work, seconds)


def _segment(
    view: AtMpp, path: Path, slide_id: str, work: Work, depends: dict[str, dict[str, Any]], told: Told
) -> dict[str, Any]:
    """Does a slide and gives what its state says of that."""
    wanted, segmenter, out = work.wanted, work.segmenter, work.out
    classes, folder = segmenter.classes, work_path(work.out, path.stem)
    told("looking for tissue", None)
    tissue = find_tissue(view)
    grid = Grid(view.size, wanted.window, wanted.overlap)
    segments = plan_segments(grid, tissue.touches, wanted.batch)
    by_prototype = prototype_classes(segmenter) if wanted.options.prototypes else None
    source = SlideSource(path, view.mpp, wanted.mpp)
    asked = _of_uncertainty(depends)
    unrefined = asked and segmenter.settings.refine != "none"
    job = Job(source, segments, wanted.window, grid.weights(), by_prototype is not None, unrefined)
    names = segmenter.channel_names
    try:
        labels = LabelFile(folder / "classes", view.size, len(classes))
        won = None if by_prototype is None else LabelFile(folder / "prototypes", view.size, len(by_prototype))
        greys = LabelFile(folder / "uncertainty", view.size, 0) if asked else None
        unsure = None if greys is None else UnsureRows(greys, *segmenter.how_sure.values())
        label_map = LabelMap(
            _Telling(labels.array, told),
            view.scale,
            (wanted.mpp, wanted.mpp),
            view.slide.facts.size,
            classes,
            view.slide.facts.bounds,
            origin_of(wanted.options, view.slide.facts.bounds),
            slide_id,
            work.described["about"],
        )
        with ExitStack() as stack:
            store: RowStore | None = None
            for kind in depends:
                opens = KINDS[kind].store
                if opens is not None:
                    store = stack.enter_context(opens(output_path(out, kind, path.stem), label_map, names))
            pace = stream_labels(
                work.engine(),
                job,
                view.size,
                labels,
                classes=len(classes),
                background=len(names) > len(classes),
                tissue=tissue if len(names) == len(classes) else None,
                store=store,
                prototypes=won,
                unsure=unsure,
                progress=lambda pace: told("segmenting", pace),
            )
        told("writing", None)
        areas = class_areas(label_map)
        made = {"classes": Segmented(plain_text(path.stem), label_map, view, areas)}
        if by_prototype is not None and won is not None:
            prototype_map = replace(label_map, labels=_Telling(won.array, told), classes=by_prototype)
            made["prototypes"] = replace(made["classes"], labels=prototype_map, areas=class_areas(prototype_map))
        if greys is not None:
            grey_map = replace(label_map, labels=_Telling(greys.array, told))
            made["uncertainty"] = replace(made["classes"], labels=grey_map)
        facts = [*_write(made, out, path.stem, depends)]
        outputs = {kind: describe_output(output_path(out, kind, path.stem), depends[kind]) for kind in depends}
    except OSError as error:
        raise refused(f"the results of {path} below {out}", error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "outputs": outputs,
        "areas": [asdict(area) for area in areas],
        "tissue_share": round(tissue.share, 6),
        **({} if unsure is None else {"unsure_share": unsure.share}),
        "windows": pace.total,
        "windows_per_second": round(pace.rate, 2),
        "waiting_share": round(pace.waiting, 4),
        "notes": [*segmenter.notes, *view.slide.facts.notes, *_notes(path, view, tissue), *facts],
        "finished": _now(),
    }


@dataclass(frozen=True)
class _Telling:
    """Labels, H x W. Whoever reads them is writing, and ends there once nobody waits for the slide any more."""

    array: Any
    told: Told

    @property
    def shape(self) -> tuple[int, ...]:
        found: tuple[int, ...] = self.array.shape
        return found

    def __getitem__(self, where: tuple[slice, slice]) -> Any:
        self.told("writing", None)
        return self.array[where]


def _write(made: dict[str, Segmented], out: Path, stem: str, depends: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Writes each kind that has not been while the slide was segmented; gives what is worth knowing about them."""
    for kind, chosen in depends.items():
        write = KINDS[kind].write
        if write is not None:
            yield from write(output_path(out, kind, stem), made[KINDS[kind].of], chosen)


def _of_uncertainty(kinds: Iterable[str]) -> bool:
    return any(KINDS[kind].of == "uncertainty" for kind in kinds if kind in KINDS)


def _notes(path: Path, view: AtMpp, tissue: TissueMask) -> Iterator[str]:
    far, bounds = warn_if_far(path, view.mpp, view.wanted), view.slide.facts.bounds
    if far is not None:
        yield far
    if bounds is not None and (bounds.x or bounds.y):
        yield (
            f"{path} was scanned from ({bounds.x}, {bounds.y}) on; masks and probabilities begin at (0, 0), and "
            "their metadata tell the way to there"
        )
    if tissue.share == 0:
        yield f"{path} shows no tissue; its outputs are empty"


@contextmanager
def _recorded(out: Path, stem: str, state: dict[str, Any]) -> Iterator[None]:
    """Notes in the state why a slide has failed."""
    try:
        yield
    except LpdsegError as error:
        with suppress(OutputError):  # the disk may be full
            write_state(out, stem, state | {"status": "failed", "reason": str(error), "finished": _now()})
        raise


@contextmanager
def _taken_back(out: Path, stem: str, kinds: Iterable[str]) -> Iterator[None]:
    """Removes what has been written of a slide that fails then: beside its state it would look like a result."""
    before = {path: _put_at(path) for path in (output_path(out, kind, stem) for kind in kinds)}
    try:
        yield
    except LpdsegError:
        for path, known in before.items():
            if _put_at(path) != known:
                remove(path)
        raise


def _put_at(path: Path) -> tuple[int, int] | None:
    """What tells a file or folder from another that takes its place; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _result(
    path: Path, status: Literal["segmented", "kept"], state: dict[str, Any], mpp: Mpp, work: Work, seconds: float
) -> SlideResult:
    return SlideResult(
        path,
        status,
        "; ".join([*state["notes"], *_left(state, work.out, path.stem)]),
        mpp,
        tuple(ClassArea(**area) for area in state["areas"]),
        state["tissue_share"],
        state["windows"],
        state["windows_per_second"],
        state["waiting_share"],
        seconds,
        {kind: output_path(work.out, kind, path.stem) for kind in work.wanted.kinds},
        model=work.weights,
        told=None if (told := state.get("slide_mpp_told")) is None else Mpp(**told),
        about=work.described["about"],
        edits=work.segmenter.edits_sha256 or "",
        offsets_data=work.segmenter.calibration.offsets_data or "",
        unsure=state.get("unsure_share"),
    )


def _refuse_others(out: Path, stem: str, kinds: Iterable[str]) -> None:
    for path in (output_path(out, kind, stem) for kind in kinds):
        if path.exists():
            raise OutputError(
                f"{path} is there already, and no state in {out} tells that it was made of a slide; choose another "
                "folder, or move it away"
            )


def _clean(out: Path, stem: str) -> None:
    """Removes what a process that was killed has left of the slide."""
    for kind in KINDS:
        recover_folder(output_path(out, kind, stem))
    for path in leftovers(out, stem):
        remove(path)


def _left(state: dict[str, Any], out: Path, stem: str) -> Iterator[str]:
    """Tells of outputs that are there and say something else than the state."""
    kinds: dict[str, list[str]] = {}
    for kind, noted in sorted(state["earlier"].items()):
        if output_path(out, kind, stem).exists():
            kinds.setdefault(noted["why"], []).append(kind)
    for why, names in kinds.items():
        yield f"{', '.join(names)} was left as it was, of {why}; name it with --to to make it again"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""What is looked at: slides and patches, with what is known of each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lpdseg.data.cut_slides import CutSlides, Part
from lpdseg.data.opening import same_classes
from lpdseg.data.patches import IMAGE_SUFFIXES, read_header
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.errors import DataError, LpdsegError
from lpdseg.files import open_file, why_neither
from lpdseg.folders import RECORD
from lpdseg.insight.run_record import data_of
from lpdseg.plain import plain_text
from lpdseg.segmenting.patches import find_images
from lpdseg.slides.formats import slide_suffixes
from lpdseg.slides.readers import find_slides
from lpdseg.tissue import TissueClasses
from lpdseg.view.written import Written, patch_results, slide_results

LARGEST_PATCH = 2048
"""Side in pixels above which an image that no data set lists is looked at as a slide is, window by window."""


_LONGEST = 1 << 16
"""Bytes of a table's first line that are looked at."""


class AbsentError(DataError):
    """An image, tile or layer that is asked for and not there."""


def fault_of(error: Exception) -> str:
    """What a person is told of an error, which may be any, such as that no memory is left."""
    return str(error) if isinstance(error, LpdsegError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Item:
    """A slide or a patch.

    - `name`: as corrections name it: its path as a manifest has it, or the slide's file name.
    - `slide`: whether it is segmented window by window, at the run's microns per pixel.
    - `group`, `patient`, `labels`, `truth`: of a data set: its split, patient, labels by class and true mask.
    - `mpp`: (x, y) microns per pixel where a table or the data set tells.
    - `written`: what `segment` has written of it.
    - `parts`: of a slide: whose the patches are that were cut from it; None where nobody knows.
    """

    path: Path
    name: str
    slide: bool
    group: str = ""
    patient: str = ""
    labels: tuple[int, ...] | None = None
    truth: Path | None = None
    mpp: tuple[float, float] | None = None
    written: Written | None = None
    parts: tuple[Part, ...] | None = None


@dataclass(frozen=True)
class Opened:
    """The items of a visit, the classes of their true masks, and what a person should know of them.

    `patients`: patches by split and patient of the data that corrections are learnt beside.
    """

    items: tuple[Item, ...]
    classes: TissueClasses
    notes: tuple[str, ...] = field(default=())
    patients: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def open_items(
    run: Path,
    sources: Sequence[Path],
    classes: TissueClasses,
    *,
    named: str | None = None,
    mask_values: Sequence[str] = (),
) -> Opened:
    """What a person asks to see.

    **Arguments:**

    - `run`: whose data are shown where there are no `sources`.
    - `sources`: each a data set (manifest CSV or folder), a folder of results of `segment`, slides, tables of
      slides, images, or a folder of any of these.
    - `classes`: of the run; those of a data set must be the same.
    - `named`, `mask_values`: what classes and mask values of data sets are where their files do not say.

    **Raises:** `DataError`, `CheckpointError` for what is not there, cannot be read, or is of other classes.
    """
    items, notes, data = list[Item](), list[str](), list[Manifest]()
    shown = classes
    for source in sources or (data_of(run),):
        found, manifest = _of(source, classes, named, mask_values, not sources)
        items += found
        if manifest is not None:
            shown = manifest.classes
            notes += manifest.notes
            data.append(manifest)
    if not data and any(item.slide for item in items):
        with suppress(LpdsegError):  # a run may outlive its data, and is looked at without
            data.append(same_classes(classes, data_of(run), named, mask_values))
    cut = [CutSlides(one) for one in data]
    known = (
        replace(item, parts=tuple(part for slides in cut for part in slides.parts(item.name)))
        if item.slide and cut else item for item in items
    )  # fmt: skip
    patients: dict[str, Counter[str]] = {}
    for record in (record for one in data for record in one.records):
        patients.setdefault(record.split, Counter())[record.patient] += 1
    return Opened(tuple(known), shown, tuple(notes), patients)


def _of(
    source: Path, classes: TissueClasses, named: str | None, mask_values: Sequence[str], is_data: bool
) -> tuple[list[Item], Manifest | None]:
    if not (source.is_file() or source.is_dir()):
        raise DataError(f"{source} {why_neither(source)}; name slides, patches, a data set or results to look at")
    is_of_patches = (source / RECORD).is_file() and (source / "summary.csv").is_file()
    if is_of_patches or (source / "states").is_dir():
        results = [*(patch_results if is_of_patches else slide_results)(source)]
        for _, written in results:
            if written is not None and written.classes.names != classes.names:
                raise DataError(
                    f"{source} holds masks of the classes {', '.join(written.classes.names)}, and the run has "
                    f"{', '.join(classes.names)}; name a run of the same classes"
                )
        return [Item(p, plain_text(p.name), not is_of_patches, written=written) for p, written in results], None
    manifest = _data_set(source, classes, named, mask_values, is_data)
    if manifest is not None:
        # Those that may be corrected come first: what is drawn on the others takes patients out of the figures.
        records = sorted(manifest.records, key=lambda record: record.split != "train")
        return [_of_record(record, manifest) for record in records], manifest
    return list(_of_files(source)), None


def _data_set(
    source: Path, classes: TissueClasses, named: str | None, mask_values: Sequence[str], must: bool
) -> Manifest | None:
    """The data set that a folder or CSV is, or None where it is none: then it holds slides or images."""
    if source.is_file() and source.suffix.lower() != ".csv":
        return None
    if source.is_file():
        with open_file(source) as file:
            header = file.readline(_LONGEST).decode("utf-8-sig", errors="replace").strip()
        must = must or "slide" not in [column.strip() for column in header.split(",")]
    try:
        return same_classes(classes, source, named, mask_values)
    except DataError:
        if must:
            raise
        return None


def _of_record(record: PatchRecord, manifest: Manifest) -> Item:
    mpp = None if record.mpp is None else (record.mpp, record.mpp)
    name = path_below(record.path, manifest.root)
    return Item(record.path, name, False, record.split, record.patient, record.labels, record.mask, mpp)


def _of_files(source: Path) -> Iterator[Item]:
    """Slides and images of a file or folder; an image that is too large for a patch is a slide."""
    only_slides = [suffix for suffix in slide_suffixes() if suffix not in IMAGE_SUFFIXES]
    if source.is_file() and source.suffix.lower() not in IMAGE_SUFFIXES:
        for slide in find_slides([source]):
            yield Item(slide.path, plain_text(slide.path.name), True, mpp=slide.mpp)
        return
    slides = (
        [] if source.is_file() else [p for p in sorted(source.rglob("[!.]*")) if p.suffix.lower() in only_slides]
    )
    for slide in find_slides(slides) if slides else ():
        yield Item(slide.path, plain_text(slide.path.name), True)
    try:
        images = find_images([source])
    except DataError:
        if not slides:
            raise
        return
    for image in images:
        name = plain_text(image.path.name if source.is_file() else image.path.relative_to(source).as_posix())
        yield Item(image.path, name, is_large(image.path))


def is_large(path: Path) -> bool:
    """Whether an image is too large to be segmented as a patch."""
    try:
        return max(read_header(path).size) > LARGEST_PATCH
    except DataError:
        return path.suffix.lower() in slide_suffixes()

"""Slides with regions → a data set to train on."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.alone import alone_in
from lpdseg.checkpoint import check_apart
from lpdseg.data.cut_slides import SOURCES, read_sources
from lpdseg.data.manifest import MANIFEST_FILE, check_names, read_manifest, write_manifest
from lpdseg.data.records import Manifest, PatchRecord, sorted_records
from lpdseg.data.regions import REGION_SUFFIXES, RegionFile, read_regions
from lpdseg.errors import DataError
from lpdseg.export.tiles import FOLDER, Cut, check_folder, write_tiles
from lpdseg.files import absolute, check_name, result_name, why_neither, write_json
from lpdseg.plain import file_key, name_key, plain_text
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.mpp import resolve_mpp, warn_if_far, warn_if_other
from lpdseg.slides.readers import SlideFile, open_slide
from lpdseg.slides.tissue_mask import find_tissue
from lpdseg.tissue import Colour, TissueClasses
from lpdseg.workflows.slides.state import check_unchanged, identity


@dataclass(frozen=True)
class Tiled:
    """What `tile_slides` wrote.

    - `records`: the new patches.
    - `classes`: of the data set.
    - `notes`: sentences that a person should read.
    """

    records: tuple[PatchRecord, ...]
    classes: TissueClasses
    notes: tuple[str, ...]


def find_region_files(slides: Sequence[SlideFile], source: Path) -> tuple[dict[Path, Path], list[Path]]:
    """The file of regions of each slide, and the slides that have none.

    **Arguments:**

    - `source`: the file of the only slide, or a folder with STEM.geojson (or another of `REGION_SUFFIXES`) for
      slides of that stem. For `case.ome.tif` both `case.ome` and `case`, as QuPath has it, are its stem.

    **Raises:** `DataError` where it does not exist, is one file for several slides, or has two files for a slide or
    none for any.
    """
    if source.is_file():
        if len(slides) > 1:
            raise DataError(f"{source} holds the regions of one slide, and there are {len(slides)}; give a folder")
        return {slide.path: source for slide in slides}, []
    if not source.is_dir():
        raise DataError(f"{source} {why_neither(source)}; give a GeoJSON file, or a folder with one per slide")
    found: dict[Path, Path] = {}
    files: dict[str, list[Path]] = {}
    for path in sorted(source.iterdir()):
        files.setdefault(name_key(path.name), []).extend([path] if path.is_file() else [])
    for slide in slides:
        stems = dict.fromkeys([slide.path.stem, slide.path.stem.removesuffix(".ome")])
        there = [
            path for stem in stems for suffix in REGION_SUFFIXES for path in files.get(name_key(stem + suffix), [])
        ]
        if len(there) > 1:
            raise DataError(f"{there[0]} and {there[1]} both hold the regions of {slide.path}; keep one")
        found |= dict.fromkeys([slide.path], there[0]) if there else {}
    if not found:
        raise DataError(f"{source} holds no regions for any slide, such as {slides[0].path.stem}.geojson")
    return found, [slide.path for slide in slides if slide.path not in found]


def tile_slides(
    slides: Sequence[SlideFile],
    regions: Path,
    out: Path,
    cut: Cut,
    *,
    patch_mpp: float,
    split: str,
    slide_mpp: float | None = None,
    classes: TissueClasses | None = None,
    patients: Mapping[str, str] | None = None,
    from_bounds: bool = True,
    skip_glass: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tiled:
    """Cuts patches from slides, and writes or extends the data set in `out`: `manifest.csv`, `classes.yaml` and a
    folder of PNGs per slide. Slides that are in it already are cut again; what tells them from others is kept in
    `slides.json`. See `write_tiles`.

    All files of regions are read before anything is written, and the manifest is whole after each slide.

    **Arguments:**

    - `regions`: see `find_region_files`.
    - `patch_mpp`: microns per pixel of the patches.
    - `split`: `train`, `valid` or `test`.
    - `slide_mpp`: microns per pixel of level 0, where the slides do not tell.
    - `classes`: by default those of the data set in `out`; in a new one, those of the regions in sorted order.
    - `patients`: by the `name_key` of the slide's stem; by default the stem.
    - `from_bounds`: regions count from the corner of the part of a slide that was scanned, as in QuPath, which
      crops slides to it; otherwise from the corner of level 0. The same for slides without such bounds.
    - `skip_glass`: pass over patches without tissue.
    - `progress`: called with (done, total) after each slide.

    **Raises:** `DataError` for regions that cannot be used or fit no slide, no patch at all, a data set of
    other classes or microns per pixel, slides that would replace others of the same name, and a split that would be
    left empty; `SlideError`; `OutputError`, also where another process works in `out`, and for a folder there that
    has a slide's name and holds something else than its patches.
    """
    paths, without = find_region_files(slides, regions)
    notes = [f"{path} has no regions in {regions} and was passed over" for path in without]
    records: list[PatchRecord] = []
    check_apart(out, may_be_data=True)
    with alone_in(out, "cutting patches", [FOLDER]):
        before = read_manifest(out / MANIFEST_FILE) if (out / MANIFEST_FILE).exists() else None
        classes = classes or (before.classes if before else None)
        files = {slide: read_regions(path, classes.names if classes else None) for slide, path in paths.items()}
        classes = classes or _classes_of(list(files.values()), regions)
        if before is not None:
            _check_same(before, classes, patch_mpp)
        else:  # patches of slides show glass
            classes = classes.with_background()
        check_names(classes, out / MANIFEST_FILE)
        chosen = [slide for slide in slides if slide.path in files]
        moving = _check_sources(chosen, before, out, split)
        for done, slide_file in enumerate(chosen, 1):
            file, stem = files[slide_file.path], slide_file.path.stem
            notes += file.notes()
            known = identity(slide_file.path)
            slide = open_slide(slide_file.path)
            try:
                mpp = resolve_mpp(slide_file.path, slide.facts, slide_mpp, slide_file.mpp, len(slides))
                notes += filter(None, [warn_if_other(slide_file.path, slide.facts, slide_file.mpp, mpp)])
                notes += [*slide.facts.notes, *filter(None, [warn_if_far(slide_file.path, mpp, patch_mpp)])]
                bounds, origin = slide.facts.bounds, (0, 0)
                if bounds is not None and from_bounds and (bounds.x or bounds.y):
                    file, origin = file.moved(float(bounds.x), float(bounds.y)), (bounds.x, bounds.y)
                    notes.append(
                        f"{slide_file.path} was scanned from ({bounds.x}, {bounds.y}) on; its regions count from "
                        "there, as in QuPath (--origin slide: from the corner of the slide)"
                    )
                view = AtMpp(slide, mpp, patch_mpp)
                new = write_tiles(
                    view,
                    file.regions,
                    out,
                    cut,
                    classes=classes,
                    name=stem,
                    patient=(patients or {}).get(name_key(stem), stem),
                    split=split,
                    tissue=find_tissue(view) if skip_glass else None,
                )
            finally:
                slide.close()
            check_unchanged(slide_file.path, known)
            if new:
                before = _extended(before, new, classes, out, stem)
                notes += [moving[slide_file.path]] if slide_file.path in moving else []
                source: dict[str, Any] = {"path": absolute(slide_file.path), "slide": known}
                source |= {"scale": list(view.scale), "origin": list(origin)}
                write_json(out / SOURCES, read_sources(out) | {plain_text(stem): source})
                shown = {
                    name for one in new for name, has in zip(classes.names, one.labels or (), strict=False) if has
                }
                lost = ", ".join(sorted({region.name for region in file.regions} - shown))
                told = f"{slide_file.path}: no patch shows {lost}, whose regions are too small or off the slide"
                notes += [told] if lost else []
            else:
                notes.append(
                    f"{slide_file.path}: no patch of {cut.side} px lies within its regions; nothing was changed"
                )
            records += new
            if progress is not None:
                progress(done, len(chosen))
    if not records:
        raise DataError(
            f"no patch of {cut.side} px at {patch_mpp:g} microns per pixel lies within the regions in {regions}; "
            "choose a smaller side or smaller minimum shares"
        )
    return Tiled(tuple(records), classes, tuple(notes))


def _check_sources(slides: Sequence[SlideFile], before: Manifest | None, out: Path, split: str) -> dict[Path, str]:
    """Makes sure that the patches of each slide replace none but its own; what to tell of those in another split.

    **Raises:** `DataError` for a slide that has the name of another one, and where a split would be left empty.
    """
    noted, notes = read_sources(out), dict[Path, str]()
    records = before.records if before else ()
    left = Counter(record.split for record in records)
    called = {file_key(stem): stem for stem in noted}
    for path in (slide.path for slide in slides):
        folder = _folder_of(out, path.stem)
        alike = called.get(file_key(path.stem))
        if alike is not None and plain_text(path.stem) not in noted and _folder_of(out, alike).is_dir():
            raise DataError(
                f"{out} has patches of {noted[alike]['path']}, whose name differs from that of {path} in case "
                "alone: rename the slide, or write to another folder"
            )
        check_folder(folder, path.stem)
        check_name(folder / f"{path.stem}_1234567_1234567.png")
        there = Counter(record.split for record in records if record.path.parent == folder)
        for other in sorted(set(there) - {split}):
            left[other] -= there[other]
            if not left[other]:
                raise DataError(
                    f"{path}: to cut it for {split} would take the last patches out of the split {other} of {out}; "
                    "write to another folder, or cut other slides for that split first"
                )
            notes[path] = f"{path}: its {there[other]} patches have left the split {other} for {split}"
        earlier = noted.get(plain_text(path.stem)) if there else None
        if earlier is None or earlier["path"] == absolute(path):
            continue
        if earlier["slide"]["sha256"] != identity(path)["sha256"]:
            raise DataError(
                f"{out} has patches of another slide of that name, {earlier['path']}; {path} would replace them: "
                "rename the slide, or write to another folder"
            )
    return notes


def _folder_of(out: Path, stem: str) -> Path:
    return Path(os.path.normpath(out / FOLDER / result_name(stem)))


def _extended(
    before: Manifest | None, new: Sequence[PatchRecord], classes: TissueClasses, out: Path, stem: str
) -> Manifest:
    """Writes the manifest with new patches in the place of those that the slide had."""
    folder = _folder_of(out, stem)
    kept = [] if before is None else [record for record in before.records if record.path.parent != folder]
    path = out / MANIFEST_FILE
    manifest = Manifest(classes, sorted_records([*kept, *new]), path)
    write_manifest(manifest, path)
    return manifest


def _classes_of(files: Sequence[RegionFile], source: Path) -> TissueClasses:
    """Classes named by regions, in sorted order, in the colours of QuPath where every class has one."""
    colours: dict[str, Colour | None] = {}
    for region in sorted((region for file in files for region in file.regions), key=lambda region: region.name):
        colours[region.name] = colours.get(region.name) or region.colour
    if not colours:
        notes = "".join(f" ({note})" for file in files for note in file.notes())
        raise DataError(
            f"{source} holds no region of a class that is not ignored{notes}; classify the annotations in QuPath"
        )
    told = tuple(colour for colour in colours.values() if colour is not None)
    return TissueClasses(tuple(colours), told if len(told) == len(colours) else ())


def _check_same(before: Manifest, classes: TissueClasses, mpp: float) -> None:
    if before.classes.names != classes.names:
        raise DataError(
            f"{before.source} has the classes {', '.join(before.classes.names)}, not {', '.join(classes.names)}; "
            "write to another folder"
        )
    other = {record.mpp for record in before.records} - {mpp}
    if other:
        raise DataError(
            f"{before.source} has patches of {other.pop()} microns per pixel, not {mpp:g}; write to another folder"
        )

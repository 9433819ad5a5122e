"""Reading a data set as it lies on disk: a manifest, the layout of the published sets, or a folder per class."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lpdseg.data.classes_file import read_classes
from lpdseg.data.labels import (
    PUBLISHED_STYLES,
    bracket_label,
    known_patient,
    labels_from_name,
    mpp_from_name,
    patient_from_name,
)
from lpdseg.data.manifest import MANIFEST_FILE, SPLIT_NAMES, SPLITS, Manifest, PatchRecord, read_manifest
from lpdseg.data.patches import IMAGE_SUFFIXES
from lpdseg.data.records import require_class, sorted_records
from lpdseg.errors import DataError
from lpdseg.tissue import PRESETS, TissueClasses

_IMAGES, _MASKS = "img", "mask"

_LOOKED_FOR = (
    f"looked for {MANIFEST_FILE}, for images in train, valid and test (the last two with {_IMAGES}/ and {_MASKS}/),"
    " and for a folder of images per class"
)


@dataclass(frozen=True)
class _Found:
    """An image, and what its place says of it: split, class where it lies in a class's folder, mask."""

    path: Path
    split: str
    tissue: str | None = None
    mask: Path | None = None


def load_data(
    source: str | Path, classes: TissueClasses | None = None, presumed: TissueClasses | None = None
) -> Manifest:
    """Reads a data set.

    **Arguments:**

    - `source`: a manifest CSV, or a folder with `manifest.csv`; or the layout of BCSS-WSSS, LUAD-HistoSeg and
      WSSS4LUAD (`train` with labels in brackets in the file names, `valid` and `test` with `img/` and `mask/`);
      or a folder of images per class, in `source` itself or below its splits.
    - `classes`: the tissue classes; by default those of `classes.yaml` in the folder, or what names and labels
      tell, in which case the manifest's `notes` say what was concluded.
    - `presumed`: the tissue classes where there is no `classes.yaml`, before anything is concluded.

    **Returns:** the manifest. Masks are matched to images by equal stem; train patches have none.

    **Raises:** `DataError` for a source that is missing or not recognised, and for labels that are missing,
    malformed, or of another number of classes.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source} does not exist; give a manifest CSV or the folder of a data set")
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(f"{source} is no data set; give a manifest CSV or the folder of a data set")
        return read_manifest(source, classes, presumed)
    if (source / MANIFEST_FILE).is_file():
        return read_manifest(source / MANIFEST_FILE, classes, presumed)
    try:
        found = list(_find(source))
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    if not found:
        raise DataError(f"{source} holds no data set: {_LOOKED_FOR}")
    notes: tuple[str, ...] = ()
    classes = classes or read_classes(source) or presumed
    if classes is None:
        classes, notes = _guess_classes(source, found)
    return Manifest(classes, sorted_records(_record(item, classes) for item in found), source, notes)


def unlisted_masks(manifest: Manifest) -> dict[str, tuple[Path, ...]]:
    """Masks in a data set's folders that no patch of the manifest uses, by split.

    Masks of a training split are always among them, since they are not read. A manifest CSV lists its masks
    itself and has none here.
    """
    if not manifest.source.is_dir():
        return {}
    used = {record.mask for record in manifest.records}
    spare = {
        split: tuple(path for path in _images(folder / _MASKS) if path not in used)
        for split, folder in _split_folders(manifest.source).items()
    }
    return {split: paths for split, paths in spare.items() if paths}


def _find(source: Path) -> Iterator[_Found]:
    """Every image of the folder `source`, in one of the known layouts."""
    folders = _split_folders(source)
    if not folders:
        yield from _find_by_class(source, "train")
    for split, folder in folders.items():
        images = folder / _IMAGES if (folder / _IMAGES).is_dir() else folder
        masks = {} if split == "train" else _by_stem(folder / _MASKS)
        named = [_Found(path, split, mask=masks.get(path.stem)) for path in _images(images)]
        yield from named or _find_by_class(images, split)


def _find_by_class(folder: Path, split: str) -> Iterator[_Found]:
    """The images of a folder per class."""
    for child in _subfolders(folder):
        if child.name not in (_IMAGES, _MASKS):
            yield from (_Found(path, split, tissue=child.name) for path in _images(child))


def _split_folders(source: Path) -> dict[str, Path]:
    """The folders that are splits, by the split's name."""
    folders: dict[str, Path] = {}
    for child in _subfolders(source):
        split = SPLIT_NAMES.get(child.name.lower())
        if split in folders:
            raise DataError(
                f"{source} has {folders[split].name}/ and {child.name}/ for one split; keep one of them"
            )
        if split is not None:
            folders[split] = child
    return {split: folders[split] for split in SPLITS if split in folders}


def _guess_classes(source: Path, found: list[_Found]) -> tuple[TissueClasses, tuple[str, ...]]:
    """Classes from the names of class folders, else from how labels are written, and notes that say so."""
    names = tuple(sorted({item.tissue for item in found if item.tissue is not None}))
    if names:
        for preset in PRESETS.values():
            if set(preset.names) == set(names):
                return preset, ()
        return TissueClasses(names), ()
    labels = Counter(
        (label.style, len(label.values)) for item in found if (label := bracket_label(item.path)) is not None
    )
    if not labels:
        raise DataError(f"{source} has images but no labels that tell its classes; give them with --classes")
    # The commonest form, so that a single misnamed file is the one that gets the blame.
    (style, count), _ = labels.most_common(1)[0]
    if (style, count) in PUBLISHED_STYLES:
        name = PUBLISHED_STYLES[style, count]
        preset = PRESETS[name]
        return preset, (
            f"classes are taken to be those of {name!r} ({', '.join(preset.names)}), since it writes labels "
            "in this way; pass --classes if they are others",
        )
    generic = TissueClasses(tuple(f"class_{index}" for index in range(count)))
    return generic, (
        f"file names tell {count} classes but not what they are, so they are called {', '.join(generic.names)}; "
        "pass --classes with a preset or with names",
    )


def _record(item: _Found, classes: TissueClasses) -> PatchRecord:
    """An image as a record, its label from its class's folder or its file name."""
    if item.tissue is None:
        labels = labels_from_name(item.path, len(classes))
    elif item.tissue in classes.names:
        labels = tuple(int(name == item.tissue) for name in classes.names)
    else:
        raise DataError(f"{item.path.parent} is the folder of no class; the classes are {', '.join(classes.names)}")
    if item.split == "train" and labels is None:
        raise DataError(
            f"{item.path}: a training patch needs its label in its name, as in x[{'1' * len(classes)}].png"
        )
    patient, mpp = patient_from_name(item.path), mpp_from_name(item.path)
    record = PatchRecord(
        item.path, labels, item.split, patient, item.mask, mpp, known_patient(item.path) is not None
    )
    require_class(record, classes, str(item.path))
    return record


def _images(folder: Path) -> list[Path]:
    """The visible image files directly in `folder`, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return [folder / name for name in sorted(names) if name.lower().endswith(IMAGE_SUFFIXES)]


def _subfolders(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _by_stem(folder: Path) -> dict[str, Path]:
    """The masks of `folder` by file name without suffix."""
    masks: dict[str, Path] = {}
    for path in _images(folder):
        if path.stem in masks:
            raise DataError(f"{folder} has {masks[path.stem].name} and {path.name} for one patch; keep one of them")
        masks[path.stem] = path
    return masks

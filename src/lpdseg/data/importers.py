"""Reading a data set as it lies on disk: a manifest, the layout of the published sets, or a folder per class."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from lpdseg.data.classes_file import read_classes
from lpdseg.data.finding import Found, find_patches, masks_of_splits, unlisted_images
from lpdseg.data.labels import (
    PUBLISHED_STYLES,
    bracket_label,
    known_patient,
    labels_from_name,
    mpp_from_name,
    patient_from_name,
)
from lpdseg.data.layout import sounds_like_masks
from lpdseg.data.manifest import MANIFEST_FILE, Manifest, PatchRecord, read_manifest
from lpdseg.data.records import require_class, sorted_records
from lpdseg.errors import DataError, SettingsError
from lpdseg.files import why_neither
from lpdseg.tissue import PRESETS, TissueClasses

_LOOKED_FOR = (
    f"looked for {MANIFEST_FILE}, for images in train, valid and test (the last two with img/ and mask/), and for "
    "a folder of images per class"
)


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
    if not (source.is_file() or source.is_dir()):
        raise DataError(f"{source} {why_neither(source)}; give a manifest CSV or the folder of a data set")
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(f"{source} is no data set; give a manifest CSV or the folder of a data set")
        return read_manifest(source, classes, presumed)
    if (source / MANIFEST_FILE).is_file():
        manifest = read_manifest(source / MANIFEST_FILE, classes, presumed)
        return replace(manifest, notes=(*manifest.notes, *unlisted_images(manifest)))
    found, notes = find_patches(source)
    if not found:
        raise DataError(f"{source} holds no data set: {_LOOKED_FOR}")
    classes = classes or read_classes(source) or presumed
    if classes is None:
        classes, guessed = _guess_classes(source, found, notes)
        notes = (*guessed, *notes)
    _check_labels(source, found, classes)
    return Manifest(classes, sorted_records(_record(item, classes) for item in found), source, notes)


def unlisted_masks(manifest: Manifest) -> dict[str, tuple[Path, ...]]:
    """Masks in a data set's folders that no patch of the manifest uses, by split.

    Masks of a training split are always among them, since they are not read. A manifest CSV lists its masks
    itself and has none here.
    """
    if not manifest.source.is_dir():
        return {}
    used = {record.mask for record in manifest.records}
    masks = masks_of_splits(manifest.source)
    spare = {split: tuple(path for path in paths if path not in used) for split, paths in masks.items()}
    return {split: paths for split, paths in spare.items() if paths}


def _guess_classes(
    source: Path, found: list[Found], notes: tuple[str, ...]
) -> tuple[TissueClasses, tuple[str, ...]]:
    """Classes from the names of class folders, else from how labels are written, and notes that say so."""
    names = tuple(sorted({item.tissue for item in found if item.tissue is not None}))
    if names:
        doubtful = [name for name in names if sounds_like_masks(name)]
        if 0 < len(doubtful) < len(names):  # where all do, as `label_0` and `label_1`, they are classes
            raise DataError(
                f"{source}: {doubtful[0]}/ sounds like masks and lies where classes do; put images into images and "
                f"masks into masks, or say with --classes {','.join(names)} that it is a class"
            )
        for preset in PRESETS.values():
            if set(preset.names) == set(names):
                return preset, ()
        try:
            return TissueClasses(names), ()
        except SettingsError as error:
            raise DataError(f"{source}, whose folders are taken for classes: {error}") from error
    labels = Counter(
        (label.style, len(label.values)) for item in found if (label := bracket_label(item.path)) is not None
    )
    if not labels:
        where = ", ".join(sorted({item.split for item in found}))
        raise DataError(
            f"{source} has images ({where}) but no labels that tell its classes; give them with --classes"
            + "".join(f"; {note}" for note in notes)
        )
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


def _check_labels(source: Path, found: list[Found], classes: TissueClasses) -> None:
    """Refuses classes that are not those of the data, once for all files."""
    digits = Counter(
        len(label.values)
        for item in found
        if item.tissue is None and item.split == "train" and (label := bracket_label(item.path)) is not None
    )
    if len(digits) == 1 and len(classes) not in digits:
        (count, files), *_ = digits.items()
        raise DataError(
            f"the {files} file names in {source} carry labels of {count} digits, but {len(classes)} are expected, "
            f"one for each of {', '.join(classes.names)}; name the {count} classes by --classes or classes.yaml"
        )
    folders = tuple(dict.fromkeys(item.tissue for item in found if item.tissue is not None))
    odd = next((item for item in found if item.tissue is not None and item.tissue not in classes.names), None)
    if odd is not None:
        lacking = [name for name in classes.names if name not in folders]
        none = f" ({', '.join(lacking)} without a folder)" if lacking else ""
        raise DataError(
            f"{source}: {odd.tissue} is the folder of no class; the classes are {', '.join(classes.names)}{none}; "
            "name the classes by --classes or classes.yaml, or move what is none out"
        )


def _record(item: Found, classes: TissueClasses) -> PatchRecord:
    """An image as a record, its label from its class's folder or its file name."""
    if item.tissue is None:
        labels = labels_from_name(item.path, len(classes))
    else:
        labels = tuple(int(name == item.tissue) for name in classes.names)
    if item.split == "train" and labels is None:
        raise DataError(
            f"{item.path}: a training patch needs its label in its name, as in x[{'1' * len(classes)}].png"
        )
    patient, mpp = item.patient or patient_from_name(item.path), mpp_from_name(item.path)
    if item.patient is None and patient.isdigit() and patient == item.path.stem:
        patient = f"{item.split}_{patient}"  # `00.png` counts images and is of nobody
    known = item.patient is not None or known_patient(item.path) is not None
    record = PatchRecord(item.path, labels, item.split, patient, item.mask, mpp, known)
    require_class(record, classes, str(item.path))
    return record

"""A generated data set on disk, in the folder layout of BCSS-WSSS, with the sub-type of every evaluated pixel."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import UInt8
from PIL import Image

from lpdseg.alone import LOCK, alone_in
from lpdseg.data.labels import labels_from_name
from lpdseg.data.manifest import MANIFEST_FILE, read_manifest, write_manifest
from lpdseg.data.records import SPLITS, Manifest, PatchRecord, sorted_records
from lpdseg.data.synthetic.patch import SyntheticPatch, check_arguments, generate_patch
from lpdseg.data.synthetic.patient import patient_name
from lpdseg.data.synthetic.subtypes import BACKGROUND, CLASSES, SUBTYPES, subtype_palette
from lpdseg.errors import DataError, SettingsError
from lpdseg.files import NAME_IT, check_name, read_json, replacing, write_json, write_text
from lpdseg.guard import MAIN_GUARD, end_if_run_again

PATCHES: Mapping[str, int] = {"train": 1200, "valid": 240, "test": 360}
PATIENTS: Mapping[str, int] = {"train": 24, "valid": 6, "test": 8}
VERSION = 1
"""Goes up whenever the same settings would give other pixels."""

DATASET_FILE = "dataset.json"
SUBTYPES_FILE = "subtypes.yaml"
_GENERATOR = "lpdseg synthetic H&E"
_MASK, _SUBTYPE = "mask", "subtype"  # folders of a split


@dataclass(frozen=True)
class _Job:
    """One patch to be written."""

    out: Path
    seed: int
    split: str
    patient: int
    number: int
    size: int
    mpp: float
    train_masks: bool

    @property
    def stem(self) -> str:
        """The file name, without the label of training patches."""
        return f"{patient_name(self.split, self.patient)}_{self.number:04d}_MPP-{self.mpp:.4f}+0"

    @property
    def has_masks(self) -> bool:
        """Whether masks are written beside the image."""
        return self.split != "train" or self.train_masks


def generate(
    out: str | Path,
    *,
    seed: int = 0,
    size: int = 224,
    mpp: float = 0.5,
    patches: Mapping[str, int] = PATCHES,
    patients: Mapping[str, int] = PATIENTS,
    train_masks: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Writes a generated data set; goes on where an interrupted call with the same settings stopped.

    A patch depends on the seed, its split, patient and number, and on nothing else: a larger data set holds the
    patches of a smaller one with as many patients.

    **Arguments:**

    - `out`: the folder; new, empty, or one that this function wrote with the same settings.
    - `seed`, `size` (pixels), `mpp` (microns per pixel): as in `generate_patch`.
    - `patches`, `patients`: how many per split; a split that is not named gets none.
    - `train_masks`: also write the masks of training patches, for what is trained on true masks. Images do not
      depend on it, so masks may be added to a data set that was written without.
    - `workers`: processes; with more than one the caller must be importable (`if __name__ == "__main__"`).
    - `progress`: called with (done, total) after each patch.

    **Returns:** the manifest that was written.

    **Raises:** `SettingsError` for bad arguments, `DataError` for a folder that holds something else;
    `OutputError` where another process works in it.
    """
    check_arguments(seed=seed, size=size, mpp=mpp)
    counts = {split: (patches.get(split, 0), patients.get(split, 0)) for split in SPLITS}
    _check_counts(patches, patients, workers)
    settings = {
        "generator": _GENERATOR,
        "version": VERSION,
        "seed": seed,
        "size": size,
        "mpp": mpp,
        "patches": {split: count for split, (count, _) in counts.items()},
        "patients": {split: people for split, (_, people) in counts.items()},
    }
    out = Path(out)
    check_name(out, NAME_IT, folder=True)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder for the generated data set")
    jobs = [
        _Job(out, seed, split, index % people, index // people, size, mpp, train_masks)
        for split, (count, people) in counts.items()
        for index in range(count)
    ]
    records = []
    with alone_in(out, "generating patches", SPLITS):
        _claim(out, settings)
        for record in _run(jobs, workers):
            records.append(record)
            if progress is not None:
                progress(len(records), len(jobs))
        names = {
            index: {"class": CLASSES.channel_names[subtype.tissue], "name": subtype.name}
            for index, subtype in enumerate(SUBTYPES)
        }
        write_text(out / SUBTYPES_FILE, yaml.safe_dump(names, sort_keys=True))
        write_manifest(Manifest(CLASSES, sorted_records(records), out / MANIFEST_FILE), out / MANIFEST_FILE)
    return read_manifest(out / MANIFEST_FILE)


def subtype_path(record: PatchRecord) -> Path | None:
    """The sub-type mask of a generated patch: values index `SUBTYPES`. None where it has no masks."""
    return None if record.mask is None else record.mask.parent.parent / _SUBTYPE / record.mask.name


def _check_counts(patches: Mapping[str, int], patients: Mapping[str, int], workers: int) -> None:
    for name, counts in (("patches", patches), ("patients", patients)):
        unknown = set(counts) - set(SPLITS)
        if unknown:
            raise SettingsError(f"{name} names no split {sorted(unknown)[0]!r}; use {', '.join(SPLITS)}")
        if any(count < 0 for count in counts.values()):
            raise SettingsError(f"{name} must be 0 or more in every split; got {dict(counts)}")
    if not any(patches.values()):
        raise SettingsError("patches is 0 in every split; ask for at least one patch")
    for split, count in patches.items():
        if count and not patients.get(split, 0):
            raise SettingsError(f"{count} {split} patches need at least one patient; patients has none for {split}")
    if workers < 1:
        raise SettingsError(f"workers must be 1 or more; got {workers}")


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Makes the folder ours, or makes sure that it is."""
    note = out / DATASET_FILE
    if not note.exists():
        if any(path.name != LOCK for path in out.iterdir()):
            raise DataError(f"{out} is not empty and holds no generated data set; choose a new folder")
        write_json(note, settings)
        return
    try:
        found = read_json(note)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {note}: {error}; choose a new folder") from error
    if not isinstance(found, dict):
        raise DataError(f"{note} does not describe a generated data set; choose a new folder")
    differing = [key for key in settings if found.get(key) != settings[key]]
    if differing:
        key = differing[0]
        raise DataError(
            f"{out} was generated with {key} = {found.get(key)!r}, not {settings[key]!r}; choose a new folder, "
            "or the settings in its dataset.json"
        )


def _run(jobs: list[_Job], workers: int) -> Iterator[PatchRecord]:
    if workers == 1:
        yield from map(_write, jobs)
        return
    end_if_run_again()
    # Fresh processes: a copy of one that runs threads, as torch does, may hang.
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(_write, jobs, chunksize=8)
    except BrokenProcessPool as error:
        raise DataError(
            f"a process that generates patches has ended: {MAIN_GUARD}; otherwise it was ended from outside, "
            "perhaps for lack of memory: use fewer workers"
        ) from error


def _write(job: _Job) -> PatchRecord:
    """Writes the files of a patch, unless they are there, whole, from an earlier call."""
    return _kept(job) or _made(job)


def _made(job: _Job) -> PatchRecord:
    settings = {key: value for key, value in asdict(job).items() if key not in ("out", "train_masks")}
    patch = generate_patch(**settings)
    folder = job.out / job.split
    if job.split == "train":
        path = folder / f"{job.stem}[{''.join(map(str, patch.labels))}].png"
    else:
        path = folder / "img" / f"{job.stem}.png"
    if job.has_masks:
        for kind, values, palette in _masks(patch):
            _save(folder / kind / path.name, _indexed(values, palette))
    _save(path, Image.fromarray(patch.image))
    return _record(job, path, patch.labels)


def _masks(
    patch: SyntheticPatch,
) -> tuple[tuple[str, UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "256 3"]], ...]:
    classes = CLASSES.to_disk()[patch.mask]
    return (_MASK, classes, CLASSES.palette()), (_SUBTYPE, patch.subtypes, subtype_palette())


def _indexed(values: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"]) -> Image.Image:
    image = Image.fromarray(values).convert("L")
    image.putpalette(palette.tobytes())  # turns grey values into palette indices
    return image


def _save(path: Path, image: Image.Image) -> None:
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", compress_level=4)


def _kept(job: _Job) -> PatchRecord | None:
    """The record of a patch whose files an earlier call finished; None where one is missing or damaged."""
    folder = job.out / job.split
    if job.split == "train":
        found = sorted(folder.glob(f"{job.stem}[[]*[]].png"))
        masks = [folder / kind / path.name for path in found for kind in (_MASK, _SUBTYPE) if job.has_masks]
        if len(found) != 1 or not all(_whole(file, job.size) for file in (*found, *masks)):
            return None
        return _record(job, found[0], labels_from_name(found[0], len(CLASSES)))
    path, mask, subtype = (folder / part / f"{job.stem}.png" for part in ("img", _MASK, _SUBTYPE))
    if not all(_whole(file, job.size) for file in (path, mask, subtype)):
        return None
    with Image.open(mask) as image:
        shown = CLASSES.to_internal()[np.asarray(image)]
    return _record(job, path, tuple(int((shown == index).any()) for index in range(BACKGROUND)))


def _whole(path: Path, size: int) -> bool:
    """Whether an image decodes and has the right size."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == (size, size)
    except (OSError, SyntaxError):  # Pillow tells a broken PNG by either
        return False


def _record(job: _Job, path: Path, labels: tuple[int, ...] | None) -> PatchRecord:
    mask = job.out / job.split / _MASK / path.name if job.has_masks else None
    return PatchRecord(path, labels, job.split, patient_name(job.split, job.patient), mask, job.mpp)

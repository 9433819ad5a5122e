"""The patches of a data set: image, image-level labels, split, patient and mask of each."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import get_args

from lpdseg.choices import Split
from lpdseg.cores import allowed_cores
from lpdseg.data.image_bounds import too_long
from lpdseg.errors import DataError
from lpdseg.files import open_file
from lpdseg.plain import plain_text
from lpdseg.tissue import TissueClasses

SPLITS: tuple[str, ...] = get_args(Split)
"""The splits, in the order in which they are used."""


@dataclass(frozen=True)
class PatchRecord:
    """One patch.

    **Arguments:**

    - `path`: the image.
    - `labels`: 0 or 1 for each class in order; None where unknown, which only valid and test patches may be.
    - `split`: `train`, `valid` or `test`.
    - `patient`: who or what slide it was cut from; the unit that a split keeps together.
    - `mask`: the image with its true pixels, or None.
    - `mpp`: microns per pixel, or None where unknown.
    - `patient_known`: False where the patient is only the beginning of a file name that follows no convention.
    - `subtype`: what no label tells of its tissue, such as a diagnosis, or None where unknown. Measures alone read
      it: no training does, and so it is no part of the fingerprint.
    """

    path: Path
    labels: tuple[int, ...] | None
    split: str
    patient: str
    mask: Path | None = None
    mpp: float | None = None
    patient_known: bool = True
    subtype: str | None = None


@dataclass(frozen=True, repr=False)
class Manifest:
    """The patches of a data set, sorted by path; `source` is the CSV or folder that they were read from.

    `notes` are things that the user should know and that are no errors.
    """

    classes: TissueClasses
    records: tuple[PatchRecord, ...]
    source: Path
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = Counter(record.split for record in self.records)
        held = ", ".join(f"{split} {counts[split]:,}" for split in self.splits) or "no patches"
        return f"Manifest({held}; {', '.join(self.classes.channel_names)}; {self.source})"

    @property
    def root(self) -> Path:
        """The folder that paths are told relative to."""
        return self.source if self.source.is_dir() else self.source.parent

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have patches, in the order train, valid, test."""
        present = {record.split for record in self.records}
        return tuple(split for split in SPLITS if split in present)

    def split(self, name: str) -> tuple[PatchRecord, ...]:
        """The patches of one split.

        **Raises:** `DataError` where there are none.
        """
        records = tuple(record for record in self.records if record.split == name)
        if not records:
            there = ", ".join(self.splits) or "none"
            raise DataError(f"{self.source} has no {name!r} patches; the splits it has: {there}")
        return records

    def with_masks(self, name: str) -> tuple[PatchRecord, ...]:
        """The patches of one split whose truth is known; none where there is no such split."""
        return tuple(record for record in self.records if record.split == name and record.mask is not None)

    def fingerprint(self, training_masks: bool = False, digests: Mapping[Path, str] | None = None) -> str:
        """SHA-256 over paths, labels, splits and the contents of images and masks: 64 hex digits.

        Masks of the training split count only where they are to be read. Paths count relative to the data set's
        folder, so a copy elsewhere has the same fingerprint. `digests` are those of the files where they are known,
        see `content_digest`.

        **Raises:** `DataError` for a file that cannot be read.
        """
        return fingerprint_of(self.entries(training_masks, digests))

    def entries(
        self,
        training_masks: bool = False,
        digests: Mapping[Path, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[tuple[str, ...], ...]:
        """What a fingerprint is of, a row for each patch, sorted by path: path, labels, split and SHA-256, and path
        and SHA-256 of a mask that counts. Arguments and errors as `fingerprint`; `progress` is told of files read.
        """
        if digests is None:
            files = [record.path for record in self.records]
            files += [
                record.mask
                for record in self.records
                if record.mask is not None and (training_masks or record.split != "train")
            ]
            with ThreadPoolExecutor(allowed_cores()) as pool:
                known = {}
                for path, digest in zip(files, pool.map(content_digest, files), strict=True):
                    known[path] = digest
                    if progress is not None:
                        progress(len(known), len(files))
                digests = known
        rows = []
        for record in self.records:
            labels = "?" if record.labels is None else "".join(map(str, record.labels))
            row = [path_below(record.path, self.root), labels, record.split, digests[record.path]]
            if record.mask is not None and (training_masks or record.split != "train"):
                row += [path_below(record.mask, self.root), digests[record.mask]]
            rows.append(tuple(row))
        return tuple(sorted(rows, key=lambda row: row[0]))


def fingerprint_of(entries: Iterable[Sequence[str]]) -> str:
    """SHA-256 of what `Manifest.entries` gave, as hex digits."""
    digest = hashlib.sha256()
    for row in entries:
        digest.update(("\0".join(row) + "\n").encode())
    return digest.hexdigest()


def path_below(path: Path, root: Path) -> str:
    """`path` relative to `root` with forward slashes; absolute where it lies elsewhere; a `plain_text`."""
    full, base = _absolute(path), _absolute(root)
    return plain_text((full.relative_to(base) if full.is_relative_to(base) else full).as_posix())


def _absolute(path: Path) -> Path:
    """An absolute path without `..`; links are not followed, since a data set may be a folder of links."""
    return Path(os.path.normpath(path.absolute()))


def content_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits.

    **Raises:** `DataError` for a file that cannot be read.
    """
    with _readable(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path) -> bytes:
    """A file of a data set as a whole.

    **Raises:** `DataError` for a file that cannot be read, or has more bytes than its pixels need.
    """
    with _readable(path) as file:
        if (why := too_long(path)) is not None:
            raise DataError(why)
        return file.read()


@contextmanager
def _readable(path: Path) -> Iterator[BufferedReader]:
    try:
        with open_file(path) as file:
            yield file
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}; restore the file or take it out of the data"
        ) from error


def sorted_records(records: Iterable[PatchRecord]) -> tuple[PatchRecord, ...]:
    """The records in the order of a manifest: by path, compared as text with forward slashes."""
    return tuple(sorted(records, key=lambda record: record.path.as_posix()))


def require_class(record: PatchRecord, classes: TissueClasses, where: str) -> None:
    """Refuses a training patch whose label cannot be learnt from; `where` starts the error's sentence.

    A patch of no class is a background patch, and so it is legal only where the data set has a background.

    **Raises:** `DataError` for a training patch without labels, or of no class and no background.
    """
    if record.split != "train":
        return
    if record.labels is None:
        raise DataError(f"{where}: a training patch needs a 0 or 1 for each of {', '.join(classes.names)}")
    if not any(record.labels) and classes.background is None:
        raise DataError(
            f"{where}: this training patch has none of the classes {', '.join(classes.names)}, and the data "
            "set has no background; correct its label or remove the patch"
        )

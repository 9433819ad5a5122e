"""One look at the files of a data set before training: each is read once, hashed and decoded on the way."""

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lpdseg.cores import allowed_cores
from lpdseg.data.geometry import Size
from lpdseg.data.patches import read_image, read_mask, read_patch
from lpdseg.data.records import Manifest, PatchRecord, fingerprint_of, read_bytes

Progress = Callable[[int, int], None]

_AHEAD = 64
"""Patches that may be decoded before they are asked for, for each thread."""


@dataclass(frozen=True)
class Looked:
    """What one look has shown.

    - `fingerprint`: see `Manifest.fingerprint`; `training`: of the training split alone, without masks.
    - `sizes`: of the training patches, in their order.
    - `entries`: see `Manifest.entries`.
    - `kept`: pixels by path, of patches and of masks in internal numbering. Whoever takes them takes them out.
    """

    fingerprint: str
    training: str
    sizes: tuple[Size, ...]
    entries: tuple[tuple[str, ...], ...] = ()
    kept: dict[Path, np.ndarray] = field(default_factory=dict)

    def without_pixels(self) -> "Looked":
        """The same for other processes."""
        return replace(self, entries=(), kept={})


@dataclass(frozen=True)
class _File:
    digests: dict[Path, str]
    pixels: dict[Path, np.ndarray]
    size: Size | None


def look(
    data: Manifest, *, training_masks: bool = False, room: int = 0, progress: Progress | None = None
) -> Looked:
    """Reads every file of a data set that counts for a run, each once, on as many threads as there are cores.

    Training patches are decoded, so that a damaged one is met now and not in the middle of a run, and so are
    patches and masks of the valid split, which validation holds in memory anyway; the others are hashed alone.

    **Arguments:**

    - `training_masks`: whether masks of the training split count.
    - `room`: bytes of training pixels that may be kept, beside those of validation.
    - `progress`: called with files done, and of how many, in the calling thread.

    **Raises:** `DataError` for a file that cannot be read, a patch or mask that cannot be decoded, and a patch to
    validate on that is too large, see `read_patch`.
    """
    count = sum(1 + _counts(record, training_masks) for record in data.records)
    digests: dict[Path, str] = {}
    kept: dict[Path, np.ndarray] = {}
    sizes: list[Size] = []
    threads = allowed_cores()
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(data.records), _AHEAD * threads):  # what waits is bounded, whatever is kept
            part = data.records[first : first + _AHEAD * threads]
            for record, found in zip(
                part, pool.map(lambda one: _look(one, data, training_masks), part), strict=True
            ):
                digests |= found.digests
                if record.split == "train":
                    assert found.size is not None
                    sizes.append(found.size)
                    nbytes = sum(pixels.nbytes for pixels in found.pixels.values())
                    if nbytes <= room:
                        kept |= found.pixels
                        room -= nbytes
                else:
                    kept |= found.pixels
                if progress is not None:
                    progress(len(digests), count)
    training = replace(data, records=tuple(record for record in data.records if record.split == "train"))
    entries = data.entries(training_masks, digests)
    return Looked(fingerprint_of(entries), training.fingerprint(False, digests), tuple(sizes), entries, kept)


def _counts(record: PatchRecord, training_masks: bool) -> bool:
    """Whether the patch has a mask that counts."""
    return record.mask is not None and (training_masks or record.split != "train")


def _look(record: PatchRecord, data: Manifest, training_masks: bool) -> _File:
    digests, pixels, size = {}, {}, None
    validates = record.split == "valid" and record.mask is not None
    for path, file in _files(record, training_masks):
        digests[path] = hashlib.sha256(file).hexdigest()
        if record.split == "train" or validates:
            if path == record.path:
                read = read_patch if validates else read_image  # patches to train on are brought to one size
                pixels[path] = read(path, io.BytesIO(file))
                size = (pixels[path].shape[0], pixels[path].shape[1])
            else:
                pixels[path] = read_mask(path, data.classes, size, io.BytesIO(file))
    return _File(digests, pixels, size)


def _files(record: PatchRecord, training_masks: bool) -> Iterator[tuple[Path, bytes]]:
    yield record.path, read_bytes(record.path)
    if _counts(record, training_masks):
        assert record.mask is not None
        yield record.mask, read_bytes(record.mask)

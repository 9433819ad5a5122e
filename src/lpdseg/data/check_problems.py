"""What can be wrong with a data set, one function per concern.

Each gives its problems with the files that have them; a problem without files is none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lpdseg.data.check_report import Problem
from lpdseg.data.importers import unlisted_masks
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.patches import ImageModeError, MaskValueError
from lpdseg.data.records import path_below
from lpdseg.errors import DataError


@dataclass(frozen=True)
class SeenPatch:
    """What decoding one patch showed.

    `digest` stands for the pixels of an image that is not of one colour; `counts` are mask pixels by internal
    index.
    """

    record: PatchRecord
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    image_error: DataError | None = None
    mask_size: tuple[int, int] | None = None
    counts: Int[np.ndarray, "256"] | None = None
    mask_error: DataError | None = None


def find_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> tuple[Problem, ...]:
    """What would make training, or the figures after it, wrong."""
    found = [*_image_errors(manifest, seen), *_split_errors(manifest, seen), *_label_errors(manifest)]
    return tuple(problem for problem in found if problem.files)


def find_warnings(manifest: Manifest, seen: Sequence[SeenPatch]) -> tuple[Problem, ...]:
    """What a person should know before training."""
    found = [*_mask_warnings(manifest), *_split_warnings(manifest), *_size_warnings(seen)]
    return tuple(problem for problem in found if problem.files)


def _image_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Images and masks that cannot be read, or are not what they should be."""
    root = f"{manifest.root}/"

    def told(errors: Iterable[DataError | None], kind: type[DataError]) -> tuple[str, ...]:
        return tuple(str(error).removeprefix(root) for error in errors if type(error) is kind)

    images = [patch.image_error for patch in seen]
    masks = [patch.mask_error for patch in seen]
    yield Problem("unreadable-image", "Images that cannot be read", told(images, DataError))
    yield Problem("image-mode", "Images that are not 8-bit RGB", told(images, ImageModeError))
    yield Problem("unreadable-mask", "Masks that cannot be read", told(masks, DataError))
    yield Problem("mask-mode", "Masks that are not 8-bit palette or grey", told(masks, ImageModeError))
    yield Problem(
        "mask-values",
        "Masks with values that stand for no class; correct them, or name the right classes",
        told(masks, MaskValueError),
    )
    yield Problem(
        "mask-size",
        "Masks of another size than their image",
        tuple(
            f"{path_below(patch.record.path, manifest.root)}: "
            f"image {_sides(patch.size)}, mask {_sides(patch.mask_size)}"
            for patch in seen
            if patch.size and patch.mask_size and patch.size != patch.mask_size
        ),
    )


def _split_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Patients and images that lie on two sides of a split."""
    patients: dict[str, Counter[str]] = defaultdict(Counter)
    images: dict[bytes, list[PatchRecord]] = defaultdict(list)
    for patch in seen:
        patients[patch.record.patient][patch.record.split] += 1
        if patch.digest is not None:
            images[patch.digest].append(patch.record)
    yield Problem(
        "patient-in-two-splits",
        "Patients in more than one split, so that figures are too good; keep a patient on one side "
        "(patients come from file names, unless a manifest has the column `patient`)",
        tuple(
            f"{patient}: " + ", ".join(f"{counts[split]} in {split}" for split in manifest.splits if counts[split])
            for patient, counts in sorted(patients.items())
            if len(counts) > 1
        ),
    )
    yield Problem(
        "image-in-two-splits",
        "Images with the same pixels in more than one split, so that figures are too good; keep one of each",
        tuple(
            " = ".join(path_below(record.path, manifest.root) for record in records)
            for records in images.values()
            if len({record.split for record in records}) > 1
        ),
    )


def _label_errors(manifest: Manifest) -> Iterator[Problem]:
    """Classes that training never meets."""
    if "train" in manifest.splits:
        present = label_table(manifest, "train").max(axis=0)
        names = tuple(name for name, there in zip(manifest.classes.names, present, strict=True) if not there)
        yield Problem(
            "class-never-in-training", "Classes that no training patch has, and so cannot be learnt", names
        )


def _mask_warnings(manifest: Manifest) -> Iterator[Problem]:
    """Masks without a use, and patches without a mask."""
    spare = unlisted_masks(manifest)
    in_train = [record.mask for record in manifest.records if record.split == "train" and record.mask is not None]
    yield Problem(
        "training-masks",
        "Masks in the training split; only --method supervised reads them, the others take image-level labels",
        tuple(path_below(path, manifest.root) for path in (*in_train, *spare.pop("train", ()))),
    )
    yield Problem(
        "mask-without-image",
        "Masks without an image of the same name",
        tuple(path_below(path, manifest.root) for paths in spare.values() for path in paths),
    )
    for split in ("valid", "test"):
        records = [record for record in manifest.records if record.split == split]
        without = tuple(path_below(record.path, manifest.root) for record in records if record.mask is None)
        if len(without) < len(records):
            yield Problem(
                "image-without-mask", f"Images of the {split} split without a mask; no figure counts them", without
            )
        elif split == "valid":
            yield Problem(
                "no-valid-masks", "No valid image has a mask, so the best checkpoint cannot be chosen", without
            )
        else:
            yield Problem(
                "no-test-masks", "No test image has a mask, so the model cannot be scored on them", without
            )


def _split_warnings(manifest: Manifest) -> Iterator[Problem]:
    """Splits that are absent, and classes that teach little."""
    if "train" not in manifest.splits:
        yield Problem(
            "no-train", "No training split, so nothing can be learnt from this data set", (str(manifest.source),)
        )
        return
    if "valid" not in manifest.splits:
        yield Problem(
            "no-valid", "No valid split, so the best checkpoint cannot be chosen", (str(manifest.source),)
        )
    table = label_table(manifest, "train")
    names, always = np.array(manifest.classes.names), table.min(axis=0) > 0
    yield Problem(
        "class-in-every-patch",
        "Classes that every training patch has; without patches that lack them they are hardly learnt, and "
        "there are no composites (loss.composite.weight=0)",
        tuple(names[always].tolist()),
    )
    # Where a class is in every patch no other can be alone, which the sentence above says.
    never = (table.max(axis=0) > 0) & (patches_alone(table) == 0) & ~always.any()
    yield Problem(
        "class-never-alone",
        "Classes that no training patch shows alone, so that composites cannot teach them; train with "
        "loss.composite.weight=0, or with loss.pseudo.weight=0.5 if two classes stand alone",
        tuple(names[never].tolist()),
    )


def _size_warnings(seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Images of several sizes."""
    sizes = count_sizes(seen)
    if len(sizes) > 1:
        yield Problem(
            "sizes-differ",
            "Images differ in size; make sure that they have the same microns per pixel",
            tuple(f"{size}: {count} images" for size, count in sizes.items()),
        )


def _sides(size: tuple[int, int]) -> str:
    """(H, W) as people write it, width first."""
    return f"{size[1]} x {size[0]}"


def count_sizes(seen: Sequence[SeenPatch]) -> dict[str, int]:
    """Number of images by size, the commonest first."""
    return dict(Counter(_sides(patch.size) for patch in seen if patch.size is not None).most_common())


def label_table(manifest: Manifest, split: str) -> Int[np.ndarray, "patches C"]:
    """0 or 1 for each labelled patch of a split and each class."""
    rows = [record.labels for record in manifest.split(split) if record.labels is not None]
    return np.array(rows, np.int64).reshape(-1, len(manifest.classes))


def patches_alone(table: Int[np.ndarray, "patches C"]) -> Int[np.ndarray, " C"]:
    """How many patches have each class and no other."""
    counts: np.ndarray = table[table.sum(axis=1) == 1].sum(axis=0)
    return counts

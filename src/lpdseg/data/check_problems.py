"""What can be wrong with a data set, one function per concern.

Each gives its problems with the files that have them; a problem without files is none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lpdseg.data.check_masks import (
    doubtful_images,
    label_problems,
    pixel_warnings,
    training_mask_faults,
    value_errors,
)
from lpdseg.data.check_report import Problem
from lpdseg.data.check_seen import SeenPatch, label_table, patches_alone
from lpdseg.data.image_bounds import LARGEST
from lpdseg.data.importers import unlisted_masks
from lpdseg.data.manifest import Manifest, PatchRecord
from lpdseg.data.origin import guessed, mpp_counts, mpp_differs, patients_unknown
from lpdseg.data.patches import ImageModeError, sides
from lpdseg.data.records import path_below
from lpdseg.errors import DataError


@dataclass(frozen=True)
class Found:
    """`errors` would make training, or the figures after it, wrong; `warnings` and `notes` are worth knowing."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]


def find_problems(manifest: Manifest, seen: Sequence[SeenPatch]) -> Found:
    """Everything that is wrong with a data set, or may be."""
    of_labels, doubtful_labels, notes = label_problems(manifest, seen)
    spare = unlisted_masks(manifest)
    unmatched = [
        path
        for split, paths in spare.items()
        if split != "train" and not manifest.with_masks(split)
        for path in paths
    ]
    errors = [
        *_image_errors(manifest, seen),
        Problem(
            "masks-match-no-image",
            "Masks of a split in which none has the name of an image, so that nothing is scored; name each as its "
            "image",
            tuple(path_below(path, manifest.root) for path in unmatched),
        ),
        *value_errors(manifest, seen),
        *_split_errors(manifest, seen),
        *_label_errors(manifest),
        *of_labels,
    ]
    warnings = [
        *_mask_warnings(manifest, spare),
        *training_mask_faults(manifest, seen),
        *pixel_warnings(manifest, seen),
        *doubtful_labels,
        *doubtful_images(manifest, seen),
        *_split_warnings(manifest),
        *_size_warnings(manifest.root, seen),
        *_origin_warnings(manifest),
    ]
    if guessed(manifest.records) and not patients_unknown(manifest.records):
        notes.append(
            "patients are guessed from the beginning of file names; a manifest's column `patient` is surer"
        )
    return Found(
        tuple(problem for problem in errors if problem.files),
        tuple(problem for problem in warnings if problem.files),
        tuple(notes),
    )


def _image_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Images and masks that cannot be read, or are not what they should be."""
    root = f"{manifest.root}/"

    def told(errors: Iterable[DataError | None], kind: type[DataError]) -> tuple[str, ...]:
        return tuple(str(error).removeprefix(root) for error in errors if type(error) is kind)

    images = [patch.image_error for patch in seen]
    masks = [patch.mask_error for patch in seen if patch.record.split != "train"]
    yield Problem("unreadable-image", "Images that cannot be read", told(images, DataError))
    yield Problem("image-mode", "Images that are not 8-bit RGB", told(images, ImageModeError))
    yield Problem("unreadable-mask", "Masks that cannot be read", told(masks, DataError))
    yield Problem("mask-mode", "Masks that are not 8-bit palette or grey", told(masks, ImageModeError))
    yield Problem(
        "too-large",
        f"Images with masks to score of more than {LARGEST:,} pixels, as many as 4096 x 4096; cut each, and its "
        "mask, into patches",
        tuple(
            f"{path_below(patch.record.path, manifest.root)}: {sides(patch.size)}"
            for patch in seen
            if patch.record.split != "train" and patch.record.mask and patch.size and np.prod(patch.size) > LARGEST
        ),
    )
    yield Problem(
        "mask-size",
        "Masks of another size than their image",
        tuple(
            f"{path_below(patch.record.path, manifest.root)}: {patch.sizes}"
            for patch in seen
            if patch.record.split != "train" and patch.sizes
        ),
    )


def _split_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Patients and images that lie on two sides of a split."""
    patients: dict[str, Counter[str]] = defaultdict(Counter)  # whoever types them, P7 and p7 are one
    spelled: dict[str, str] = {}
    images: dict[bytes, list[PatchRecord]] = defaultdict(list)
    for patch in seen:
        patients[patch.record.patient.casefold()][patch.record.split] += 1
        spelled.setdefault(patch.record.patient.casefold(), patch.record.patient)
        if patch.digest is not None:
            images[patch.digest].append(patch.record)
    yield Problem(
        "patient-in-two-splits",
        "Patients in more than one split, so that figures are too good; keep a patient on one side "
        "(patients come from file names, unless a manifest has the column `patient`)",
        tuple(
            f"{spelled[patient]}: "
            + ", ".join(f"{counts[split]} in {split}" for split in manifest.splits if counts[split])
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


def _mask_warnings(manifest: Manifest, spare: Mapping[str, Sequence[Path]]) -> Iterator[Problem]:
    """Masks without a use or of several patches, and patches without a mask; no patch uses those of `spare`."""
    in_train = [record.mask for record in manifest.with_masks("train") if record.mask is not None]
    yield Problem(
        "training-masks",
        "Masks in the training split; only --method supervised reads them, where a manifest's column `mask` names "
        "them, the others take image-level labels",
        tuple(path_below(path, manifest.root) for path in (*in_train, *spare.get("train", ()))),
    )
    yield Problem(
        "mask-without-image",
        "Masks without an image of the same name",
        tuple(
            path_below(path, manifest.root)
            for split, paths in spare.items()
            if manifest.with_masks(split)  # else an error tells them
            for path in paths
        ),
    )
    shared = Counter(record.mask for record in manifest.records if record.mask is not None)
    yield Problem(
        "mask-of-several-images",
        "Masks that several images share, of which at most one can be meant unless they are blank",
        tuple(path_below(path, manifest.root) for path, count in shared.items() if count > 1),
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
        "training learns from pseudo masks instead of composites",
        tuple(names[always].tolist()),
    )
    pairs = [
        f"{names[one]} and {names[other]}"
        for one in range(len(names))
        for other in range(one + 1, len(names))
        if table[:, one].any() and (table[:, one] == table[:, other]).all() and not always[one]
    ]
    yield Problem(
        "classes-always-together",
        "Pairs of classes that share all their training patches, so that nothing tells them apart",
        tuple(pairs),
    )
    # Where a class is in every patch no other can be alone, which the sentence above says.
    never = (table.max(axis=0) > 0) & (patches_alone(table) == 0) & ~always.any()
    yield Problem(
        "class-never-alone",
        "Classes that no training patch shows alone, so that composites cannot teach them and train "
        "falls back on pseudo masks",
        tuple(names[never].tolist()),
    )


def _size_warnings(root: Path, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Images of several sizes, or of that of slides."""
    sizes = count_sizes(seen)
    yield Problem(
        "large-training-image",
        f"Training images of more than {LARGEST:,} pixels, as many as 4096 x 4096, each of which is one patch with "
        "one label, scaled where most are of another size; cut each into patches with labels of their own",
        tuple(
            f"{path_below(patch.record.path, root)}: {sides(patch.size)}"
            for patch in seen
            if patch.record.split == "train" and patch.size and np.prod(patch.size) > LARGEST
        ),
    )
    if len(sizes) > 1:
        yield Problem(
            "sizes-differ",
            "Images differ in size; make sure that they have the same microns per pixel; training scales each "
            "as a whole to fit the commonest size, and fills up with its mirror image",
            tuple(f"{size}: {count} images" for size, count in sizes.items()),
        )


def _origin_warnings(manifest: Manifest) -> Iterator[Problem]:
    """Patients that nobody told, and several magnifications in one set."""
    records = manifest.records
    unsure = guessed(records) if patients_unknown(records) else []
    yield Problem(
        "patients-unknown",
        "Patients are unknown: file names tell none, so that each file counts as one, and figures may come from "
        "patients that training has seen; give a manifest with the column `patient`",
        tuple(f"{split}: {count} files" for split, count in Counter(record.split for record in unsure).items()),
    )
    told = {str(record.mpp is None) for record in records}
    if mpp_differs(records) or len(told) > 1:
        lines = [
            f"{split}: {mpp} µm/px, {count} images"
            for split in manifest.splits
            for mpp, count in mpp_counts(manifest.split(split)).items()
        ]
        yield Problem(
            "mpp-differs",
            "Images differ in microns per pixel, or some do not tell; nothing is resized for that, and a run "
            "takes the median as its own, so bring all to one scale",
            tuple(lines),
        )


def count_sizes(seen: Sequence[SeenPatch]) -> dict[str, int]:
    """Number of images by size, the commonest first."""
    return dict(Counter(sides(patch.size) for patch in seen if patch.size is not None).most_common())

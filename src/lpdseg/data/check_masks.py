"""What can be wrong with masks and what they are compared with: values, classes without pixels, labels."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lpdseg.data.check_report import Problem
from lpdseg.data.check_seen import SeenPatch, label_table, pixels_of
from lpdseg.data.label_masks import Contradiction, compare, has_specks
from lpdseg.data.manifest import Manifest
from lpdseg.data.mask_values import misread, offer
from lpdseg.data.patches import MaskValueError
from lpdseg.data.records import path_below
from lpdseg.tissue import IGNORE

_SCORED = ("valid", "test")
_MUCH = 0.01
"""Of a split's mask pixels: from this share of left-out regions on a person should know."""
_MOSTLY = 0.5
"""The same for what is left out in all, rims included."""
_MANY = 0.2
"""Of the labels that have a mask: from this share of clear contradictions on, classes are mixed up."""


def value_errors(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Mask values that stand for no class, that must stand for another, and masks without any tissue."""
    root, classes = f"{manifest.root}/", manifest.classes
    values: set[int] = set()
    wrong: list[str] = []
    to_disk = classes.to_disk()
    for patch in seen:
        if patch.record.split not in _SCORED:
            continue
        if patch.pixels is not None:
            values |= set(to_disk[patch.pixels.counts[: classes.channels].nonzero()[0]].tolist())
            values |= {IGNORE} if patch.pixels.regions and IGNORE in classes.left_out else set()
        elif isinstance(patch.mask_error, MaskValueError):
            values |= set(patch.mask_error.values)
            wrong.append(str(patch.mask_error).removeprefix(root))
    yield Problem(
        "mask-values",
        "Masks with values that stand for no class; correct them, or say what the values stand for: "
        f"{offer(classes, values)}",
        tuple(wrong),
    )
    if len(classes) == 1 and classes.background is None:
        yield Problem(
            "one-class-alone",
            "Masks of one class without background, in which every pixel is right whatever is predicted; say which "
            f"value is background, as in {offer(classes, {0, 1})}",
            tuple(
                f"{split}: {classes.names[0]}"
                for split in _SCORED
                if (pixels := pixels_of(seen, split)) is not None and misread(classes, pixels, split) is None
            ),
        )
    for split in _SCORED:
        pixels = pixels_of(seen, split)
        if pixels is None:
            continue
        fault = misread(classes, pixels, split)
        if fault is not None:
            yield Problem("mask-values-left-out", f"{fault[0].upper()}{fault[1:]}", _with_masks(manifest, split))
        elif len(pixels.absent(classes)) == len(classes):
            yield Problem(
                "no-tissue-in-masks",
                f"No mask of the {split} split shows any class, so no figure says anything; check the mask values",
                _with_masks(manifest, split),
            )


def pixel_warnings(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Classes without a pixel to be scored on, and much that is left out."""
    classes = manifest.classes
    trained = set(classes.names)
    if "train" in manifest.splits:
        held = label_table(manifest, "train").max(axis=0)
        trained = {name for name, there in zip(classes.names, held, strict=True) if there}
    without, left_out = [], []
    for split in _SCORED:
        pixels = pixels_of(seen, split)
        if pixels is None or misread(classes, pixels, split) is not None:
            continue
        absent = [name for name in pixels.absent(classes) if name in trained]
        if len(absent) > 0 and len(pixels.absent(classes)) < len(classes):
            without += [f"{split}: {name}" for name in absent]
        total = pixels.counts.sum()
        regions, ignored = pixels.regions / total, 1 - pixels.counts[: classes.channels].sum() / total
        if regions > _MUCH or ignored > _MOSTLY:
            values = ", ".join(map(str, classes.left_out))
            left_out.append(f"{split}: {ignored:.1%} of the mask pixels have the value {values}")
    yield Problem(
        "class-without-pixels",
        "Classes that no mask of a split shows, so that its mean figures leave them out; if another value of the "
        "masks stands for them, say so with --mask-value VALUE=NAME",
        tuple(without),
    )
    yield Problem(
        "much-left-out",
        "Masks leave out whole regions, which no figure counts; if they are a class, say so with --mask-value "
        "VALUE=NAME",
        tuple(left_out),
    )


def label_problems(manifest: Manifest, seen: Sequence[SeenPatch]) -> tuple[list[Problem], list[Problem], list[str]]:
    """Errors, warnings and notes about labels of patches that contradict their masks."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    notes: list[str] = []
    for split in manifest.splits:
        found: list[tuple[SeenPatch, Contradiction]] = []
        compared = specks = 0
        for patch in seen:
            labels, pixels = patch.record.labels, patch.pixels
            if patch.record.split != split or labels is None or pixels is None:
                continue
            compared += 1
            specks += has_specks(labels, pixels, manifest.classes)
            contradiction = compare(labels, pixels, manifest.classes)
            if contradiction is not None:
                found.append((patch, contradiction))
        clear = sum(contradiction.clear for _, contradiction in found)
        mixed_up = clear > _MANY * compared
        cause = "; the order of the classes, or the mask values, must be others" if mixed_up else ""
        problem = Problem(
            "label-unlike-mask",
            f"Labels of the {split} split that contradict their masks, {len(found)} of {compared}{cause}",
            tuple(f"{path_below(patch.record.path, manifest.root)}: {what}" for patch, what in found),
        )
        (errors if mixed_up and split != "train" else warnings).append(problem)
        if specks:
            notes.append(f"{specks} masks of the {split} split show specks, below 1 %, of classes that labels lack")
    return errors, warnings, notes


def training_mask_faults(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """What would stop or mislead a method that learns from masks."""
    files = []
    for patch in seen:
        name = path_below(patch.record.path, manifest.root)
        if patch.record.split != "train" or not manifest.with_masks("train"):
            continue
        if patch.mask_error is not None:
            files.append(str(patch.mask_error).removeprefix(f"{manifest.root}/"))
        elif patch.record.mask is None or patch.sizes:
            files.append(f"{name}: {patch.sizes or 'no mask'}")
    pixels = pixels_of(seen, "train")
    fault = None if pixels is None else misread(manifest.classes, pixels, "train")
    if fault is not None:
        files.append(fault)
    yield Problem("training-mask-faults", "Training masks that --method supervised cannot use", tuple(files))


def doubtful_images(manifest: Manifest, seen: Sequence[SeenPatch]) -> Iterator[Problem]:
    """Blank images with labels, and the same pixels twice in a split, under different labels."""
    yield Problem(
        "blank-but-labelled",
        "Training images of one colour that are labelled with a class; look whether they were written wrongly",
        tuple(
            path_below(patch.record.path, manifest.root)
            for patch in seen
            if patch.record.split == "train"
            and patch.size
            and patch.digest is None
            and any(patch.record.labels or ())
        ),
    )
    labels: dict[tuple[str, bytes], Counter[tuple[int, ...]]] = {}
    paths: dict[tuple[str, bytes], list[str]] = {}
    for patch in seen:
        if patch.digest is not None and patch.record.labels is not None:
            key = patch.record.split, patch.digest
            labels.setdefault(key, Counter())[patch.record.labels] += 1
            paths.setdefault(key, []).append(path_below(patch.record.path, manifest.root))
    yield Problem(
        "same-image-other-label",
        "Images with the same pixels but other labels, of which one must be wrong",
        tuple(" = ".join(paths[key]) for key, found in labels.items() if len(found) > 1),
    )


def _with_masks(manifest: Manifest, split: str) -> tuple[str, ...]:
    return tuple(
        path_below(record.mask, manifest.root) for record in manifest.split(split) if record.mask is not None
    )

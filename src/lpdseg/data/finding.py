"""The images of a data set's folder: those that are used, and in sentences those that are not and why."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from lpdseg.data.labels import bracket_label
from lpdseg.data.layout import (
    UNREAD_PICTURES,
    Place,
    is_aside,
    is_images,
    is_masks,
    masks_beside,
    masks_by_stem,
    place_of,
    split_of,
)
from lpdseg.data.patches import IMAGE_SUFFIXES
from lpdseg.data.records import SPLITS, Manifest
from lpdseg.errors import DataError
from lpdseg.folders import Seen, look_through, some
from lpdseg.plain import name_key, plain_text


@dataclass(frozen=True)
class Found:
    """An image, and what its place says of it: split, class where it lies in a class's folder, patient, mask."""

    path: Path
    split: str
    tissue: str | None = None
    patient: str | None = None
    mask: Path | None = None


def find_patches(source: Path) -> tuple[list[Found], tuple[str, ...]]:
    """Every image of a folder in one of the known layouts, and notes on what was passed over.

    **Raises:** `DataError` for images that would be lost: links that lead nowhere, kinds of pictures that are not
    read; and for two folders that mean the same.
    """
    seen, places = _places(source)
    pictures = [place for place in places if place.path.suffix.lower() in IMAGE_SUFFIXES]
    splits = {place.split for place in pictures} - {None}
    _refuse_lost(source, seen, places, bool(splits))
    if not splits:
        _refuse_wrapped(source, pictures)
    found: list[Found] = []
    passed: list[Place] = []
    nested: list[str] = []
    for split in SPLITS if splits else ("train",):
        mine = [place for place in pictures if place.split == (split if splits else None)]
        _need_one(source, (place.split_name for place in mine), "one split")
        masks = _masks(source, [place for place in mine if place.kind == "mask"]) if split != "train" else {}
        used, unused, patients = _choose(source, split, [one for one in mine if one.kind == "image"], masks)
        found += used
        passed += unused
        nested += [f"{split} ({patients})"] if patients else []
    if not splits and not found:
        _refuse_unsorted(source, pictures)
    if splits:
        passed += [place for place in pictures if place.split is None and place.kind != "aside"]
    passed += [place for place in places if place.path.suffix.lower() in UNREAD_PICTURES]
    found = _patients_are_no_classes(found)
    by_class: set[str | None] = {item.split if splits else None for item in found if item.tissue is not None}
    notes = [
        *_counted(source, "images that are not used, since no known layout has them there", passed),
        *_counted(
            source, "pictures that are neither patches nor masks", [p for p in pictures if p.kind == "aside"]
        ),
        *_empty(source, seen, pictures, by_class),
        *_others(source, places),
        *seen.notes(source),
    ]
    if nested:
        notes.append(f"patients are taken to be the folders that images lie in: {', '.join(nested)}")
    return found, tuple(plain_text(note) for note in notes)


def masks_of_splits(source: Path) -> dict[str, tuple[Path, ...]]:
    """All masks of each split, sorted; without splits all are of `train`."""
    _, places = _places(source)
    pictures = [place for place in places if place.path.suffix.lower() in IMAGE_SUFFIXES]
    masks = [place for place in pictures if place.kind == "mask"]
    only = None if any(place.split for place in pictures) else "train"
    return {split: tuple(place.path for place in masks if (place.split or only) == split) for split in SPLITS}


def unlisted_images(manifest: Manifest) -> Iterator[str]:
    """A note on images below a manifest's folder that the manifest does not list, if there are any."""
    root = manifest.root
    _, places = _places(root)
    listed = {path for record in manifest.records for path in (record.path, record.mask) if path is not None}
    listed |= {Path(os.path.realpath(path)) for path in listed}
    rest = [
        place.path
        for place in places
        if place.kind == "image"
        and place.path.suffix.lower() in IMAGE_SUFFIXES
        and not {Path(os.path.normpath(place.path)), Path(os.path.realpath(place.path))} & listed
    ]
    if rest:
        yield plain_text(
            f"{manifest.source.name} lists {len(manifest.records)} patches; {len(rest)} other images below its "
            f"folder are not in it and are not read: {some(rest, root)}"
        )


def _places(source: Path) -> tuple[Seen, list[Place]]:
    try:
        seen = look_through(source)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    return seen, masks_beside([place_of(path, source) for path in seen.files])


def _choose(
    source: Path, split: str, images: list[Place], masks: dict[str, Path]
) -> tuple[list[Found], list[Place], int]:
    """Images of one split that are used, those that are not, and how many folders are patients."""
    held = [place for place in images if _is_outer(place)]
    _need_one(source, (place.holder for place in held), "the images of one split")
    chosen = held or images
    direct = [place for place in chosen if not place.rest]
    nested = [place for place in chosen if place.rest]
    labelled = _all_labelled(nested)

    def mask(place: Place) -> Path | None:
        return masks.get(place.stem) or masks.get(name_key(place.path.stem))

    def found(place: Place) -> Found:
        outer, inner = (*map(plain_text, place.rest), None, None)[:2]
        tissue, patient = (None, outer) if labelled else (outer, inner)
        return Found(place.path, split, tissue, patient, mask(place))

    used = nested
    told = any("[" in place.path.stem or mask(place) is not None for place in direct)
    if direct and (told or not nested):
        if split == "train" and not any(place.split for place in images) and not told:
            direct = []  # in no split, and without labels: what they are for cannot be known
        used = [*direct, *(nested if labelled else [])]
    paths, items = {place.path for place in used}, [found(place) for place in used]
    return items, [one for one in images if one.path not in paths], len({x.patient for x in items} - {None})


def _need_one(source: Path, names: Iterable[str | None], what: str) -> None:
    several = sorted({name for name in names if name is not None})
    if len(several) > 1:
        raise DataError(f"{source} has {several[0]}/ and {several[1]}/ for {what}; keep one of them")


def _is_outer(place: Place) -> bool:
    """Whether an image lies in the split's own folder of images, and not in one of a class."""
    if place.holder is None:
        return False
    return all(split_of(part) is not None for part in PurePath(place.holder).parts[:-1])


def _all_labelled(places: Sequence[Place]) -> bool:
    """Whether all names carry a label of the same length of at least 2, so that folders say something else.

    Windows writes `x[1].png` where a name is taken, which is no label.
    """
    lengths = set()
    for place in places:
        try:
            label = bracket_label(place.path)
        except DataError:
            return False
        lengths.add(0 if label is None else len(label.values))
    return len(lengths) == 1 and min(lengths) > 1


def _patients_are_no_classes(found: list[Found]) -> list[Found]:
    """Folders in valid and test that are no class of the training split are patients."""
    known = {item.tissue for item in found if item.split == "train"}
    if not known:
        return found
    same = {item.split for item in found if item.tissue is not None and item.tissue in known}
    return [
        item if item.tissue is None or item.split in same else replace(item, tissue=None, patient=item.tissue)
        for item in found
    ]


def _masks(source: Path, masks: list[Place]) -> dict[str, Path]:
    _need_one(source, (place.holder for place in masks if _is_outer(place)), "the masks of one split")
    found, double = masks_by_stem(masks)
    if double is not None:
        raise DataError(
            f"{double[0].parent} has {double[0].name} and {double[1].name} for one patch; keep one of them"
        )
    return found


def _refuse_lost(source: Path, seen: Seen, places: Iterable[Place], has_splits: bool) -> None:
    lost = [path for path in seen.lost if path.suffix.lower() in ("", *IMAGE_SUFFIXES, *UNREAD_PICTURES)]
    if lost:
        raise DataError(
            f"{source}: {len(lost)} links lead nowhere ({some(lost, source)}); restore what they lead to, or "
            "remove them"
        )
    unread = [
        place.path
        for place in places
        if (place.kind == "image" or (place.kind == "mask" and place.split in ("valid", "test")))
        and place.path.suffix.lower() in UNREAD_PICTURES
        and (place.split is not None or (not has_splits and (place.rest or place.holder)))
    ]
    if unread:
        raise DataError(
            f"{source}: {len(unread)} pictures are of kinds that are not read ({some(unread, source)}); save "
            "them as PNG, or take them out of the data"
        )


def _refuse_wrapped(source: Path, pictures: Iterable[Place]) -> None:
    """Refuses the folder around a data set, whose splits would become patients."""
    inner = {
        source.joinpath(*place.rest[:depth])
        for place in pictures
        for depth, name in enumerate(place.rest)
        if depth and split_of(name)
    }
    if inner:
        advice = "give that folder" if len(inner) == 1 else "put the folders of the splits outermost"
        raise DataError(f"{source} holds no data set: its splits lie in {some(sorted(inner), Path())}; {advice}")


def _refuse_unsorted(source: Path, pictures: Iterable[Place]) -> None:
    """Refuses images without split and labels, by the name of their folder."""
    for place in pictures:
        if place.holder is not None:
            raise DataError(
                f"{source} holds no data set: {place.holder}/ lies in no split, and its files carry no labels; "
                "put images to score into test/img and their masks into test/mask, and images to learn from into "
                "train, with labels in their names as in x[10].png"
            )


def _counted(source: Path, what: str, places: Sequence[Place]) -> Iterator[str]:
    """One note that counts files by folder."""
    folders = Counter(place.path.parent.relative_to(source).as_posix() for place in places)
    if folders:
        first = [
            f"{'the folder itself' if name == '.' else name} ({count})" for name, count in sorted(folders.items())
        ]
        more = f", … ({len(places)} in all)" if len(first) > 3 else ""
        yield f"passed over {what}: {', '.join(first[:3])}{more}"


def _empty(source: Path, seen: Seen, pictures: Sequence[Place], by_class: set[str | None]) -> Iterator[str]:
    """A note on empty folders of splits, and of classes in splits that are sorted by class."""
    full = {parent for place in pictures for parent in place.path.parents}
    empty = []
    for folder in seen.folders:
        parts = folder.relative_to(source).parts
        *outer, name = parts
        split = split_of(parts[0])
        is_split = len(parts) == 1 and split is not None
        inner = outer[1:] if split is not None else outer
        is_class = not inner and split in by_class and not (is_images(name) or is_masks(name) or is_aside(name))
        if folder not in full and (is_split or is_class):
            empty.append(folder)
    if empty:
        yield f"passed over folders without an image: {some(empty, source)}"


def _others(source: Path, places: Iterable[Place]) -> Iterator[str]:
    """A note that counts files that are no pictures, by suffix; those beside the splits are not of the data."""
    known = (*IMAGE_SUFFIXES, *UNREAD_PICTURES)
    suffixes = Counter(
        place.path.suffix.lower() or "without suffix"
        for place in places
        if place.path.parent != source and place.path.suffix.lower() not in known
    )
    if suffixes:
        told = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
        yield f"passed over files that are no images: {told}"

"""Which names of folders mean what in a data set: splits, images, masks, and what is neither.

Case, separators and an ordering number in front do not matter: `1.training`, `02_Train` and `train` are one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

from lpdseg.plain import name_key

_SPLITS = {
    "train": "train", "training": "train",
    "val": "valid", "valid": "valid", "validation": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
_IMAGES = {"img", "imgs", "image", "images", "patch", "patches"}
_MASKS = {
    "mask", "masks", "label", "labels", "gt", "gts", "groundtruth", "ann", "anno", "annotation", "annotations",
    "segmentation", "segmentations", "segmentationclass",
}  # fmt: skip
_ASIDE = {
    "backgroundmask", "backgroundmasks", "overlay", "overlays", "subtype", "thumbnail", "thumbnails", "thumbs",
}  # fmt: skip
"""Pictures that are of patches, and no patches and no masks of them."""

_ORDER = re.compile(r"^\(?[0-9]+\)?[\W_]*(?=[^\W\d_])")
_SEPARATORS = re.compile(r"[\W_]+")
_HOW_KEPT = re.compile(
    r"(?<=[\W_])(?:png|jpe?g|tiff?|bmp|dir|files)$|^(?:png|jpe?g|tiff?)[\W_]*(?=img|image)", re.IGNORECASE
)
"""What a name says of the files and not of their meaning, as in `masks_png`, `img_dir` and `JPEGImages`."""

_WORDS = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
_SPLIT, _KIND = "|".join(_SPLITS), "|".join(_IMAGES | _MASKS | _ASIDE)
_BOTH = re.compile(f"({_SPLIT})({_KIND})|({_KIND})({_SPLIT})")
"""A folder that is named after both, such as `train_images` and `MasksTest`."""

_MARK = "(?:masks?|labels?|labelids?|gt|seg|segmentations?|anno|annotations?)"
_MASK_NAME = re.compile(rf"(?<![^/]){_MARK}[ ._-]+|(?:[ ._-]+{_MARK})+$", re.IGNORECASE)

UNREAD_PICTURES = (
    ".gif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pnm", ".heic", ".avif", ".jxl", ".tga", ".psd",
    ".npy", ".mat", ".dcm", ".svs", ".ndpi", ".mrxs", ".scn",
)  # fmt: skip
"""Files that are pictures by name, of kinds that are not read; they are seldom there by accident."""

Kind = Literal["image", "mask", "aside"]


def split_of(name: str) -> str | None:
    """`train`, `valid` or `test` for the name of a folder, or a cell of a manifest, that means it."""
    word = _word(name)
    return _SPLITS.get(word) or _SPLITS.get(re.sub("(set|data|split)$", "", word))


def is_images(name: str) -> bool:
    """Whether a folder of this name holds images."""
    return _word(name) in _IMAGES


def is_masks(name: str) -> bool:
    """Whether a folder of this name holds masks."""
    return _word(name) in _MASKS


def is_aside(name: str) -> bool:
    """Whether a folder of this name holds pictures that are neither patches nor their masks."""
    return _word(name) in _ASIDE


def _word(name: str) -> str:
    return _SEPARATORS.sub("", _HOW_KEPT.sub("", _ORDER.sub("", name.strip()))).lower()


def sounds_like_masks(name: str) -> bool:
    """Whether a word of a name means masks, as in `binary_masks` and `labelsTr`."""
    return any(word.lower() in _MASKS for word in _WORDS.findall(name))


@dataclass(frozen=True)
class Place:
    """What the folders of a file say of it.

    - `split`: and `split_name`, the name of its folder; None outside of splits.
    - `kind`: images are what lies in no folder of masks or of other pictures.
    - `holder`: the folder of images or masks, relative to the data set, if there is one.
    - `rest`: all other folders from the outside: class, patient.
    - `stem`: where it lies in the split's images or masks, without suffix, as a `name_key`; a mask has its image's.
    """

    path: Path
    split: str | None
    split_name: str | None
    kind: Kind
    holder: str | None
    rest: tuple[str, ...]
    stem: str


def place_of(path: Path, root: Path) -> Place:
    """Reads the folders between `root` and `path`."""
    *folders, _ = path.relative_to(root).parts
    split = split_name = holder = None
    kind: Kind = "image"
    rest: list[str] = []
    both = _BOTH.fullmatch(_word(folders[0])) if folders else None
    names = [*enumerate(folders, 1)]
    if both is not None:
        names[:1] = [(1, part) for part in filter(None, both.groups())]
    for depth, name in names:
        if split is None and not rest and split_of(name) is not None:
            split, split_name = split_of(name), name
        elif is_aside(name):
            kind = "aside"
        elif is_masks(name) and kind == "image":
            kind, holder = "mask", PurePath(*folders[:depth]).as_posix()
        elif is_images(name) and kind == "image" and holder is None:
            holder = PurePath(*folders[:depth]).as_posix()
        else:
            rest.append(name)
    return Place(path, split, split_name, kind, holder, tuple(rest), name_key("/".join((*rest, path.stem))))


def masks_by_stem(masks: Iterable[Place]) -> tuple[dict[str, Path], tuple[Path, Path] | None]:
    """Masks by the `stem` of their image, and two that belong to one image, if there are such.

    `x_mask` and `mask_x` are masks of `x`, unless there is one with the very name.
    """
    found: dict[str, Path] = {}
    double = None
    for place in masks:
        if place.stem in found:
            double = double or (found[place.stem], place.path)
        found[place.stem] = place.path
    for stem, path in list(found.items()):
        found.setdefault(_MASK_NAME.sub("", stem), path)
    return found, double


def masks_beside(places: list[Place]) -> list[Place]:
    """The same places, where `x_mask` in the folder of the image `x` is its mask and no image."""
    stems = {(place.path.parent, place.path.stem) for place in places if place.kind == "image"}

    def is_mask(place: Place) -> bool:
        bare = _MASK_NAME.sub("", place.path.stem)
        return place.kind == "image" and bare != place.path.stem and (place.path.parent, bare) in stems

    return [replace(place, kind="mask", holder=None) if is_mask(place) else place for place in places]

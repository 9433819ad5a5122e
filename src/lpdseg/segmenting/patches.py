"""Many image files → their segmentations: which files, in batches that fit in memory.

B images of one size, H x W pixels; n channels (background last).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import UInt8

from lpdseg.data.layout import UNREAD_PICTURES, place_of
from lpdseg.data.patches import IMAGE_SUFFIXES, check_patch, read_patch
from lpdseg.errors import DataError
from lpdseg.files import result_name, why_neither
from lpdseg.folders import look_through, some, tell
from lpdseg.plain import file_key
from lpdseg.segmenting.memory import at_once, if_it_fits, is_too_large
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.segmenter import Segmenter

_AS_A_SLIDE = "cut it into patches, or segment it window by window, as a slide: with --to ome-tiff --mpp MICRONS"


@dataclass(frozen=True)
class ImageFile:
    """An image to segment, and its place below the input that it was found in, without suffix."""

    path: Path
    place: PurePath


def find_images(inputs: Sequence[Path], *, recurse: bool = True, leave_out: Sequence[Path] = ()) -> list[ImageFile]:
    """The images that `inputs` name: files as they are, folders by their images in sorted order.

    **Arguments:**

    - `recurse`: look into folders below as well, and linked ones. Hidden files are passed over, and with a note
      results of earlier runs and, where an input holds images beside them, what lies in its folders of masks.
    - `leave_out`: folders whose files do not count, such as one for results inside an input.

    **Raises:** `DataError` for an input that does not exist, a folder that cannot be read or has no images, and two
    images whose results would have the same name, or names that differ in case alone: one file on some systems.
    """
    found = [image for source in inputs for image in _images_of(source, recurse, leave_out)]
    by_key: dict[str, ImageFile] = {}
    for image in found:
        other = by_key.setdefault(file_key(str(image.place)), image)
        if other.path != image.path:
            alike = "" if other.place == image.place else ", where upper and lower case are one"
            raise DataError(
                f"{other.path} and {image.path} would both become {image.place}.png{alike}; rename one, or segment "
                "them into different folders"
            )
    return [*by_key.values()]


def check_image_file(path: Path) -> None:
    """Refuses what `read_image_file` would refuse, as far as a header tells.

    **Raises:** `DataError`.
    """
    check_patch(path, _AS_A_SLIDE)


def read_image_file(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes an image to segment.

    **Raises:** `DataError` for what is no 8-bit RGB image, or has more pixels than are segmented as a whole.
    """
    return read_patch(path, remedy=_AS_A_SLIDE)


def segment_files(
    segmenter: Segmenter,
    paths: Iterable[Path],
    *,
    batch: int | None = None,
    prototypes: bool = False,
    uncertainty: bool = False,
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[tuple[Path, Segmentation]]:
    """Segments image files one after another, in the order given.

    Neighbours of equal size share a batch, large ones fewer. Where a batch does not fit in memory it is halved, for
    good.

    **Arguments:**

    - `batch`: images at once; by default the segmenter's setting.
    - `prototypes`, `uncertainty`: give the map of prototypes, and how sure the mask is, as well.
    - `on_error`: told of an image that cannot be read or is too large (see `read_image_file`), which then is passed
      over; without it the error is raised.

    **Raises:** `DataError`.
    """
    most = batch or segmenter.settings.batch
    compute = partial(segmenter.segment_batch, prototypes=prototypes, uncertainty=uncertainty)

    def refuse(error: DataError) -> None:
        if on_error is None:
            raise error
        on_error(error)

    waiting: list[tuple[Path, UInt8[np.ndarray, "H W 3"]]] = []
    for path, image in _readable(paths, refuse):
        pixels = image.shape[0] * image.shape[1]
        if is_too_large(pixels, segmenter.device):
            refuse(_does_not_fit(path, image))
            continue
        if waiting and (len(waiting) == at_once(pixels, most) or image.shape != waiting[0][1].shape):
            most = yield from _segment_some(compute, waiting, most, refuse)
            waiting = []
        waiting.append((path, image))
    yield from _segment_some(compute, waiting, most, refuse)


def _images_of(source: Path, recurse: bool, apart: Sequence[Path]) -> list[ImageFile]:
    if source.is_file():
        return [ImageFile(source, PurePath(result_name(source.stem)))]
    if not source.is_dir():
        raise DataError(f"{source} {why_neither(source)}; give an image or a folder of images")
    try:
        seen = look_through(source, recurse=recurse, leave_out=apart)
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}); change its rights or leave it out"
        ) from error
    # A link that leads nowhere is an image that cannot be read, and not one that was never there.
    images = sorted(path for path in (*seen.files, *seen.lost) if path.suffix.lower() in IMAGE_SUFFIXES)
    others = [path for path in seen.files if path.suffix.lower() in UNREAD_PICTURES]
    gone = [path for path in seen.lost if not path.suffix]
    if not images:
        raise DataError(f"{source} holds no images ({', '.join(IMAGE_SUFFIXES)}); give a folder that does")
    # A whole data set can be named, as after training; its masks are pictures too. Alone they are what is meant.
    patches = [path for path in images if place_of(path, source).kind == "image"] or images
    beside = sorted(set(images) - set(patches))
    tell(seen.notes(source))
    tell(f"passed over masks and such beside the images: {some(beside, source)}" for _ in beside[:1])
    tell(f"passed over pictures of kinds that are not read: {some(others, source)}" for _ in others[:1])
    tell(f"passed over links that lead nowhere: {some(gone, source)}" for _ in gone[:1])
    return [ImageFile(path, path.relative_to(source).with_suffix("")) for path in patches]


def _readable(
    paths: Iterable[Path], refuse: Callable[[DataError], None]
) -> Iterator[tuple[Path, UInt8[np.ndarray, "H W 3"]]]:
    for path in paths:
        try:
            image = read_image_file(path)
        except DataError as error:
            refuse(error)
        else:
            yield path, image


def _segment_some(
    compute: Callable[[UInt8[np.ndarray, "B H W 3"]], list[Segmentation]],
    waiting: list[tuple[Path, UInt8[np.ndarray, "H W 3"]]],
    most: int,
    refuse: Callable[[DataError], None],
) -> Generator[tuple[Path, Segmentation], None, int]:
    """Segments images of one size, at most `most` at once; returns how many fitted at once."""
    first = 0
    while first < len(waiting):
        some = waiting[first : first + most]
        results = if_it_fits(compute, np.stack([image for _, image in some]))
        if results is not None:
            first += len(some)
            yield from zip((path for path, _ in some), results, strict=True)
        elif len(some) > 1:
            most = len(some) // 2
        else:
            path, image = some[0]
            first += 1
            refuse(_does_not_fit(path, image))
    return most


def _does_not_fit(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> DataError:
    return DataError(
        f"{path} ({image.shape[1]} x {image.shape[0]} pixels) does not fit in memory even alone; cut it into "
        "smaller patches, or segment it with --to as a slide is"
    )

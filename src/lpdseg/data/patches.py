"""Reading patches and masks: 8-bit RGB images and 8-bit index masks, and nothing that only looks like them.

H and W are height and width in pixels. Nothing is converted on the way: an image of another mode was made by
another tool with another meaning, and turning it silently into RGB would teach the model that difference.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from lpdseg.data.image_bounds import LARGEST, MAX_PIXELS, HeldFile, too_long, too_much
from lpdseg.errors import DataError
from lpdseg.tissue import NO_CLASS, TissueClasses

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp")
"""The files that count as images, by lower-case suffix."""

_SMALLER = "cut it, and its mask, into patches; data tile does so with a slide and its drawn regions"
_ORIENTATION = 0x0112
_IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_MASK_FORMATS = ("PNG", "TIFF", "BMP")  # JPEG changes pixel values, and so class indices


class ImageModeError(DataError):
    """An image of another colour mode or bit depth than is needed."""


class MaskValueError(DataError):
    """A mask with values that stand for no class; `values` are all that it holds."""

    def __init__(self, message: str, values: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.values = values


@dataclass(frozen=True)
class ImageHeader:
    """What an image file tells before its pixels are decoded.

    **Arguments:**

    - `size`: (H, W) in pixels.
    - `mode`: Pillow's mode (`RGB`, `P`, `L`, …), or `16-bit RGB` and the like for other depths.
    """

    size: tuple[int, int]
    mode: str


def read_header(path: Path) -> ImageHeader:
    """Size and mode of an image or mask, without decoding its pixels.

    **Raises:** `DataError` for a file that is missing, no image, of many pages, or above `MAX_PIXELS`.
    """
    with _opened(path, _IMAGE_FORMATS) as (_, header):
        return header


def check_image(path: Path) -> ImageHeader:
    """Refuses what `read_image` would refuse, as far as a header tells: everything but damaged pixels.

    **Raises:** `DataError`, `ImageModeError`; see `read_image`.
    """
    header = read_header(path)
    _need_rgb(path, header)
    return header


def read_image(path: Path, file: BytesIO | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes a patch; `file` is what `path` holds where it has been read already.

    **Returns:** RGB in 0..255, writable.

    **Raises:** `DataError` for a file that is missing, damaged, of many pages or above `MAX_PIXELS`;
    `ImageModeError` for any mode but 8-bit RGB.
    """
    with _opened(path, _IMAGE_FORMATS, file) as (image, header):
        _need_rgb(path, header)
        return np.array(image)


def read_patch(path: Path, file: BytesIO | None = None, remedy: str = _SMALLER) -> UInt8[np.ndarray, "H W 3"]:
    """As `read_image`, of a patch that a network is to see as a whole: one above `LARGEST` is not decoded, and told
    in a sentence that ends with `remedy`.

    **Raises:** as `read_image`; `DataError` for more pixels.
    """
    with _opened(path, _IMAGE_FORMATS, file) as (image, header):
        _need_rgb(path, header)
        _need_whole(path, header, remedy)
        return np.array(image)


def check_patch(path: Path, remedy: str = _SMALLER) -> None:
    """Refuses what `read_patch` would refuse, as far as a header tells.

    **Raises:** `DataError`, `ImageModeError`; see `read_patch`.
    """
    _need_whole(path, check_image(path), remedy)


def read_mask(
    path: Path, classes: TissueClasses, size: tuple[int, int] | None = None, file: BytesIO | None = None
) -> UInt8[np.ndarray, "H W"]:
    """Decodes a mask into the internal numbering: class index, C for background, `IGNORE`.

    **Arguments:**

    - `path`: an 8-bit palette or grey PNG, TIFF or BMP whose pixel values are `classes`' values on disk.
    - `classes`: the tissue classes.
    - `size`: the (H, W) that the mask must have, where it belongs to an image.
    - `file`: what `path` holds where it has been read already.

    **Raises:** `DataError` for a file that is missing, damaged or of another size; `ImageModeError` for any
    mode but 8-bit palette or grey; `MaskValueError` for values that stand for no class.
    """
    with _opened(path, _MASK_FORMATS, file) as (image, header):
        if header.mode not in ("P", "L"):
            raise ImageModeError(
                f"{path} has mode {header.mode}; save the mask as 8-bit palette or grey, with one value per class"
            )
        if size is not None and header.size != size:
            raise DataError(
                f"{path} is {sides(header.size)} pixels, but its image is {sides(size)}; "
                "a mask must have the size of its image"
            )
        values = np.asarray(image)
    table = classes.to_internal()
    mask: UInt8[np.ndarray, "H W"] = table[values]
    wrong = np.unique(values[mask == NO_CLASS])
    if wrong.size:
        shown = ", ".join(map(str, wrong[:8])) + (", …" if wrong.size > 8 else "")
        left_out = ", ".join(map(str, classes.left_out)) or "none"
        raise MaskValueError(
            f"{path} holds the values {shown}; the classes use {', '.join(map(str, sorted(classes.meant)))}, "
            f"and {left_out} for pixels to leave out; say what they stand for with --mask-value {wrong[0]}=NAME",
            tuple(np.unique(values).tolist()),
        )
    return mask


def _need_rgb(path: Path, header: ImageHeader) -> None:
    if header.mode != "RGB":
        raise ImageModeError(f"{path} has mode {header.mode}; convert it to 8-bit RGB without alpha")


def _need_whole(path: Path, header: ImageHeader, remedy: str) -> None:
    if header.size[0] * header.size[1] > LARGEST:
        raise DataError(
            f"{path} has {sides(header.size)} pixels, and a patch has {LARGEST:,} at most, as many as 4096 x 4096; "
            f"{remedy}"
        )


def sides(size: tuple[int, int]) -> str:
    """(H, W) as people write it, width first."""
    return f"{size[1]} x {size[0]}"


@contextmanager
def _opened(
    path: Path, formats: tuple[str, ...], file: BytesIO | None = None
) -> Iterator[tuple[Image.Image, ImageHeader]]:
    """Opens one image of one of `formats`; whatever a decoder throws becomes a `DataError` with the path."""
    try:
        if (why := too_long(path, file)) is not None:
            raise DataError(why)
        with HeldFile(path) if file is None else file as held, Image.open(held, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(f"{path} has {width} x {height} pixels; cut it into patches")
            if (why := too_much(path, image, file)) is not None:
                raise DataError(why)
            if getattr(image, "is_animated", False):  # to count them, each would be looked at
                raise DataError(
                    f"{path} holds several images; save one per file (for a whole slide see segment --to)"
                )
            # Pillow turns TIFF itself; a PNG would be decoded to find out.
            if image.format not in ("PNG", "TIFF") and image.getexif().get(_ORIENTATION, 1) > 1:
                raise DataError(
                    f"{path} is to be turned for show (EXIF orientation), which its mask may not be; "
                    "save it as it is seen, without that tag"
                )
            yield image, ImageHeader((height, width), pixel_mode(image))
    except DataError:
        raise
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"cannot read {path}: {error.strerror}; name an image that can be read") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; restore the file or take it out of the data") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} has too many pixels for a patch; cut it into patches") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no {', '.join(formats[:-1])} or {formats[-1]} image; save it as PNG") from error
    except Exception as error:  # damaged bytes make decoders raise almost anything
        raise DataError(f"{path} cannot be decoded ({error}); replace the damaged file") from error


def pixel_mode(image: Image.Image) -> str:
    """Pillow's mode, with the bit depth where that differs from what the mode promises.

    Pillow opens 16-bit RGB as 8-bit, and stretches 2- and 4-bit grey to 0..255: both change values silently,
    and only the raw mode of the file's tiles tells.
    """
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    raw = args if isinstance(args, str) else str(args[0])
    _, _, depth = raw.partition(";")
    bits = "".join(character for character in depth if character.isdigit())
    if image.mode in ("RGB", "L") and bits and bits != "8":
        return f"{bits}-bit {image.mode}"
    return f"16-bit {image.mode[0]}" if image.mode.startswith("I;16") else image.mode

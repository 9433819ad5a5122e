"""PNG, JPEG and flat TIFF images as slides of one level."""

import threading
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from lpdseg.data.image_bounds import HeldFile, too_long, too_much
from lpdseg.data.patches import pixel_mode
from lpdseg.slides.rectangle import on_white
from lpdseg.slides.slide import Level, SlideError, SlideFacts

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

MAX_PIXELS = 12_288 * 12_288
"""Such an image is decoded whole, into 3 bytes per pixel."""

_SILENT = threading.Lock()
"""Of one thread at a time: what is done with warnings counts for all."""


class ImageSlide:
    """A `Slide` that is held in memory.

    It says nothing of microns per pixel: the dots per inch of such files are of print, and seldom of a microscope.
    EXIF is not looked at, so that coordinates are those of the pixels as they are stored.
    """

    def __init__(self, path: Path, pixels: UInt8[np.ndarray, "height width 3"]) -> None:
        self.path = path
        self._pixels = pixels
        height, width = pixels.shape[:2]
        self.facts = SlideFacts((Level(width, height, (1.0, 1.0)),), mpp=None, bounds=None, vendor="unknown")

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """See `Slide.read`."""
        if level != 0:
            raise IndexError(f"level {level} of an image, which has one")
        return on_white(self.facts.size, x, y, width, height, self._inside)

    def close(self) -> None:
        """See `Slide.close`."""
        self._pixels = np.empty((0, 0, 3), np.uint8)

    def _inside(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        return self._pixels[y : y + height, x : x + width].copy()


def open_image(path: Path) -> ImageSlide | None:
    """The image, or None where the file is no PNG, JPEG or TIFF of one page.

    **Raises:** `SlideError` for an image that is damaged, not 8-bit RGB, of many frames, or above `MAX_PIXELS`.
    """
    try:
        if (why := too_long(path)) is not None:
            raise SlideError(why)
        with _SILENT, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked here, and damage raises
            with HeldFile(path) as held, Image.open(held, formats=("PNG", "JPEG", "TIFF")) as image:
                if image.format == "TIFF" and getattr(image, "is_animated", False):
                    return None
                _check(path, image)
                return ImageSlide(path, np.array(image))
    except SlideError:
        raise
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise _too_large(path, "too many") from error
    except Exception as error:  # damaged bytes make decoders raise almost anything
        raise SlideError(f"{path} cannot be decoded ({error}); replace the damaged file") from error


def _check(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width} x {height}")
    if getattr(image, "is_animated", False):
        raise SlideError(f"{path} holds several images; save one")
    if (why := too_much(path, image)) is not None:
        raise SlideError(why)
    mode = pixel_mode(image)
    if mode != "RGB":
        raise SlideError(f"{path} has mode {mode}; save it as 8-bit RGB without alpha")


def _too_large(path: Path, pixels: str) -> SlideError:
    return SlideError(f"{path} has {pixels} pixels, which do not fit in memory; save it as a tiled TIFF")

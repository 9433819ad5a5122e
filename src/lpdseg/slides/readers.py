"""Opening slides, whatever their format, and finding them on disk."""

from pathlib import Path

from lpdseg.errors import LpdsegError
from lpdseg.extras import needed
from lpdseg.files import open_file
from lpdseg.slides.directories import check_directories
from lpdseg.slides.formats import CONVERT, READERS, UNREAD_FORMATS, slide_suffixes
from lpdseg.slides.inputs import SlideFile, find_slides
from lpdseg.slides.slide import Slide, SlideError

__all__ = ["SlideFile", "find_slides", "open_slide", "slide_suffixes"]


MOST_PIXELS = 400_000_000_000
"""Of level 0: a glass slide of 75 x 25 mm has less than half at 0.1 microns per pixel."""


def open_slide(path: Path) -> Slide:
    """Opens a slide with the first reader that knows its format: OpenSlide, then tifffile, then Pillow.

    A file that a reader knows but finds damaged is refused, even if the next one would read what is left of it. A
    reader whose library is not installed is passed over.

    **Raises:** `SlideError` for a file that is missing, empty, damaged, of no known format, not allowed to be read,
    or that claims more than a slide has, see `check_directories` and `MOST_PIXELS`; `SettingsError` that names the
    extra where only a library that is not installed could read it.
    """
    _check_file(path)
    missing: LpdsegError | None = None
    for reader in READERS:
        if path.suffix.lower() not in reader.suffixes:
            continue
        try:
            needed("slides", *reader.modules)
        except LpdsegError as error:
            missing = missing or error
            continue
        slide = reader.open(path)
        if slide is not None:
            width, height = slide.facts.size
            if width * height > MOST_PIXELS or min(width, height) < 1:
                slide.close()
                raise SlideError(f"{path} claims {width} x {height} pixels, as no slide has; export it again")
            return slide
    if missing is not None:
        raise missing
    if path.suffix.lower() in UNREAD_FORMATS:
        raise SlideError(f"{path} is of a format that is not read; {CONVERT}")
    if path.suffix.lower() in slide_suffixes():
        raise SlideError(f"{path} is no slide in spite of its name; copy or export it again")
    raise SlideError(f"{path} is no slide by its name; slides end in {', '.join(slide_suffixes())}")


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SlideError(f"{path} is a folder; give a slide")
        with open_file(path) as file:
            if not file.read(1):
                raise SlideError(f"{path} is empty; copy it again")
        check_directories(path)
    except FileNotFoundError as error:
        raise SlideError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise SlideError(f"{path} cannot be read ({error.strerror}); change its rights or leave it out") from error

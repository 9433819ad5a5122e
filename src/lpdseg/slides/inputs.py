"""Which slides a person means: files, folders, patterns and tables."""

import glob
import os
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from lpdseg.files import is_there, why_neither
from lpdseg.folders import is_result, look_through, some, tell
from lpdseg.plain import file_key, name_key
from lpdseg.slides.formats import CONVERT, UNREAD_FORMATS, slide_suffixes
from lpdseg.slides.slide import SlideError
from lpdseg.slides.slide_table import read_slide_table

_PICTURES = (".png", ".jpg", ".jpeg")
_OF_A_SLIDE = re.compile(r"[ ._-](thumb|thumbnail|macro|label|overview|preview)s?$", re.IGNORECASE)


@dataclass(frozen=True)
class SlideFile:
    """A slide to open.

    - `mpp`: (x, y) microns per pixel that a table told, or None.
    """

    path: Path
    mpp: tuple[float, float] | None


def find_slides(inputs: Sequence[str | Path], leave_out: Sequence[str | Path] = ()) -> list[SlideFile]:
    """The slides that `inputs` name, sorted by path, each once.

    **Arguments:**

    - `inputs`: slides; folders, searched with those below them and linked there; patterns such as `scans/*.svs` or
      `scans/**/*.tif`; and CSVs, see `lpdseg.slides.slide_table`. Of what a search finds, thumbnails and results of
      earlier runs are passed over with a note, hidden files without.
    - `leave_out`: folders that are not searched, such as one for results below that of the slides.

    **Raises:** `SlideError` for an input that does not exist or holds no slide, two slides of the same name without
    suffix or its case, whose results could not be told apart, and two tables that disagree; `DataError` for a CSV
    that is none.
    """
    by_path: dict[Path, SlideFile] = {}
    apart = {Path(folder).resolve() for folder in leave_out}
    for source in inputs:
        for slide in _named_by(source, apart):
            key = Path(os.path.normpath(slide.path.absolute()))  # links keep their names
            other = by_path.get(key, slide)
            if slide.mpp is not None and other.mpp is not None and slide.mpp != other.mpp:
                raise SlideError(
                    f"{slide.path} is listed with {_shown(other.mpp)} and with {_shown(slide.mpp)} microns per "
                    "pixel; keep one"
                )
            by_path[key] = slide if other.mpp is None else other
    slides = sorted(by_path.values(), key=lambda slide: slide.path)
    by_stem: dict[str, Path] = {}
    for slide in slides:
        first = by_stem.setdefault(file_key(slide.path.stem), slide.path)
        if first != slide.path:
            alike = "" if name_key(first.stem) == name_key(slide.path.stem) else ", but for upper and lower case"
            raise SlideError(
                f"{first} and {slide.path} are both named {slide.path.stem}{alike}, and so would be their results; "
                "rename one, or segment them into folders of their own"
            )
    return slides


def _named_by(source: str | Path, apart: Set[Path]) -> Iterator[SlideFile]:
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except PermissionError as error:
        raise SlideError(f"{path} cannot be read ({error.strerror}); change the rights of its folder") from error
    if is_folder:
        yield from _in_folder(path, apart)
    elif is_file and path.suffix.lower() == ".csv":
        yield from _in_table(path)
    elif is_file:
        yield SlideFile(_with_known_suffix(path), None)
    elif glob.has_magic(str(source)):
        yield from _matching(str(source), apart)
    else:
        raise SlideError(f"{source} {why_neither(path)}; give a slide, a folder, a pattern or a CSV of slides")


def _in_folder(folder: Path, apart: Set[Path]) -> Iterator[SlideFile]:
    try:
        seen = look_through(folder, leave_out=apart)
    except OSError as error:
        raise SlideError(
            f"{error.filename} cannot be read ({error.strerror}); change its rights or leave it out"
        ) from error
    # A link that leads nowhere is a slide that cannot be read, and not one that was never there.
    slides = _without_pictures([path for path in sorted((*seen.files, *seen.lost)) if is_slide(path)], folder)
    unread = [path for path in seen.files if path.suffix.lower() in UNREAD_FORMATS]
    if not slides:
        other = f"; {some(unread, folder)} cannot be read, {CONVERT}" if unread else "; give a folder that does"
        raise SlideError(f"{folder} holds no slides ({', '.join(slide_suffixes())}){other}")
    tell(seen.notes(folder))
    tell(f"passed over slides of formats that are not read: {some(unread, folder)}; {CONVERT}" for _ in unread[:1])
    yield from (SlideFile(path, None) for path in slides)


def is_slide(path: Path) -> bool:
    """Whether a file is a slide by its name."""
    return path.suffix.lower() in slide_suffixes()


def _without_pictures(paths: Sequence[Path], root: Path) -> list[Path]:
    """Of files that a search has found, those that are no thumbnails and the like; told which are passed over.

    Beside files of slide formats a PNG or JPEG is a picture of one. So is a TIFF called `NAME_macro` beside NAME.
    """
    stems = {path.stem for path in paths}

    def is_picture(path: Path) -> bool:
        ending = _OF_A_SLIDE.search(path.stem)
        return path.suffix.lower() in _PICTURES or (ending is not None and path.stem[: ending.start()] in stems)

    slides = [path for path in paths if not is_picture(path)]
    pictures = [path for path in paths if is_picture(path)]
    if not slides:
        return pictures
    told = "; name them one by one to segment them"
    tell(f"passed over pictures beside slides: {some(pictures, root)}{told}" for _ in pictures[:1])
    return slides


def _in_table(csv_path: Path) -> Iterator[SlideFile]:
    for path, mpp, where in read_slide_table(csv_path):
        if not (is_there(path) and path.is_file()):
            raise SlideError(f"{where}: {path} {why_neither(path)}; restore the slide or take the line out")
        yield SlideFile(_with_known_suffix(path), mpp)


def _matching(pattern: str, apart: Set[Path]) -> Iterator[SlideFile]:
    paths = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - takes absolute patterns
    slides = [
        path
        for path in sorted(paths)
        if (path.is_file() or path.is_symlink())
        and is_slide(path)
        and not apart & set(path.resolve().parents)
        and not any(is_result(folder) for folder in path.parents)
    ]
    if not slides:
        raise SlideError(f"{pattern} matches no slides ({', '.join(slide_suffixes())}); try it with ls")
    yield from (SlideFile(path, None) for path in _without_pictures(slides, Path()))


def _with_known_suffix(path: Path) -> Path:
    if path.suffix.lower() in UNREAD_FORMATS:
        raise SlideError(f"{path} is of a format that is not read; {CONVERT}")
    if not is_slide(path):
        raise SlideError(f"{path} is no slide by its name; slides end in {', '.join(slide_suffixes())}")
    return path


def _shown(mpp: tuple[float, float]) -> str:
    return " x ".join(f"{value:g}" for value in mpp)

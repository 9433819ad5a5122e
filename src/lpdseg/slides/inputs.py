"""Which slides a person means: files, folders, patterns and tables."""

import glob
import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lpdseg.slides.formats import slide_suffixes
from lpdseg.slides.slide import SlideError
from lpdseg.slides.slide_table import read_slide_table


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

    - `inputs`: slides; folders, searched with those below them, hidden ones passed over; patterns such as
      `scans/*.svs` or `scans/**/*.tif`; and CSVs, see `lpdseg.slides.slide_table`.
    - `leave_out`: folders that are not searched, such as one for results below that of the slides.

    **Raises:** `SlideError` for an input that does not exist or holds no slide, two slides of the same name without
    suffix, whose results could not be told apart, and two tables that disagree; `DataError` for a CSV that is none.
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
        first = by_stem.setdefault(slide.path.stem, slide.path)
        if first != slide.path:
            raise SlideError(
                f"{first} and {slide.path} are both named {slide.path.stem}, and so would be their results; rename "
                "one, or segment them into folders of their own"
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
        raise SlideError(f"{source} does not exist; give a slide, a folder, a pattern or a CSV of slides")


def _in_folder(folder: Path, apart: Set[Path]) -> Iterator[SlideFile]:
    found = False
    for here, below, names in os.walk(folder, onerror=_refuse_folder):
        below[:] = [name for name in below if not name.startswith(".") and Path(here, name).resolve() not in apart]
        for name in names:
            path = Path(here, name)
            if not name.startswith(".") and path.suffix.lower() in slide_suffixes():
                found = True
                yield SlideFile(path, None)
    if not found:
        raise SlideError(f"{folder} holds no slides ({', '.join(slide_suffixes())}); give a folder that does")


def _refuse_folder(error: OSError) -> NoReturn:
    raise SlideError(
        f"{error.filename} cannot be read ({error.strerror}); change its rights or leave it out"
    ) from error


def _in_table(csv_path: Path) -> Iterator[SlideFile]:
    for path, mpp, where in read_slide_table(csv_path):
        if not path.is_file():
            raise SlideError(f"{where}: {path} does not exist; restore the slide or take the line out")
        yield SlideFile(_with_known_suffix(path), mpp)


def _matching(pattern: str, apart: Set[Path]) -> Iterator[SlideFile]:
    paths = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - takes absolute patterns
    slides = [
        path
        for path in paths
        if path.is_file() and path.suffix.lower() in slide_suffixes() and not apart & set(path.resolve().parents)
    ]
    if not slides:
        raise SlideError(f"{pattern} matches no slides ({', '.join(slide_suffixes())}); try it with ls")
    yield from (SlideFile(path, None) for path in slides)


def _with_known_suffix(path: Path) -> Path:
    if path.suffix.lower() not in slide_suffixes():
        raise SlideError(f"{path} is no slide by its name; slides end in {', '.join(slide_suffixes())}")
    return path


def _shown(mpp: tuple[float, float]) -> str:
    return " x ".join(f"{value:g}" for value in mpp)

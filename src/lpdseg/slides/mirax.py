"""MIRAX slides are a small file and a folder of the same name, and are often copied without it."""

import re
from pathlib import Path

from lpdseg.files import is_there, read_text
from lpdseg.slides.slide import SlideError

_INDEX = "Slidedat.ini"
_PART = re.compile(r"\s*(?:FILE_\d+|INDEXFILE)\s*=\s*(\S.*)")

_MOST_BYTES, _MOST_PARTS = 1 << 20, 1000
"""Of an index, and of files that it names: slides have some dozen."""


def check_mirax_folder(path: Path) -> None:
    """Refuses a `.mrxs` whose folder is not there, or lacks files that its index names.

    **Raises:** `SlideError` that names what to copy.
    """
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise SlideError(f"{path} has no folder {folder.name} beside it, which holds its pixels; copy it as well")
    try:
        index = read_text(folder / _INDEX, _MOST_BYTES, errors="replace")
    except FileNotFoundError:
        raise SlideError(f"{path}: {_INDEX} is missing in {folder.name}; copy the folder again") from None
    except ValueError as error:
        raise SlideError(f"{folder / _INDEX} is no index of a slide: {error}; copy the folder again") from error
    except OSError as error:
        raise SlideError(f"{folder / _INDEX} cannot be read ({error.strerror}); change its rights") from error
    named = [found[1].strip() for line in index.splitlines() if (found := _PART.match(line)) is not None]
    if len(named) > _MOST_PARTS:
        raise SlideError(f"{folder / _INDEX} names {len(named):,} files, as no slide has; copy the folder again")
    lacking = [name for name in named if not (is_there(folder / name) and (folder / name).is_file())]
    if lacking:
        more = f" ({len(lacking)} files in all)" if len(lacking) > 1 else ""
        raise SlideError(f"{path}: {lacking[0]} is missing in {folder.name}{more}; copy the folder again")

"""MIRAX slides are a small file and a folder of the same name, and are often copied without it."""

import re
from pathlib import Path

from lpdseg.slides.slide import SlideError

_INDEX = "Slidedat.ini"
_PART = re.compile(r"^\s*(?:FILE_\d+|INDEXFILE)\s*=\s*(\S.*?)\s*$", re.MULTILINE)


def check_mirax_folder(path: Path) -> None:
    """Refuses a `.mrxs` whose folder is not there, or lacks files that its index names.

    **Raises:** `SlideError` that names what to copy.
    """
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise SlideError(f"{path} has no folder {folder.name} beside it, which holds its pixels; copy it as well")
    try:
        index = (folder / _INDEX).read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise SlideError(f"{path}: {_INDEX} is missing in {folder.name}; copy the folder again") from None
    except OSError as error:
        raise SlideError(f"{folder / _INDEX} cannot be read ({error.strerror}); change its rights") from error
    lacking = [name for name in _PART.findall(index) if not (folder / name).is_file()]
    if lacking:
        more = f" ({len(lacking)} files in all)" if len(lacking) > 1 else ""
        raise SlideError(f"{path}: {lacking[0]} is missing in {folder.name}{more}; copy the folder again")

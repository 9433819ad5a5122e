"""Looking through folders: links are followed, what systems and earlier runs leave there is told apart."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lpdseg.files import is_there
from lpdseg.plain import one_line

_SYSTEM = {
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "__macosx", "__pycache__",
    "$recycle.bin", "system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
"""What operating systems and file servers put into folders, in lower case; hidden names are such anyway."""

RECORD = "segment.json"
"""What `segment` writes beside the folders of its results, from the start on."""

RESULT_FOLDERS = {
    "masks", "labels", "overlays", "probabilities", "prototypes", "uncertainty", "geojson", "areas", "states",
}  # fmt: skip
"""Folders that `segment` writes beside its record."""


@dataclass
class Seen:
    """What a search came across.

    - `files`: every visible file, also through links, by path.
    - `folders`: every folder that was looked into, but the first.
    - `lost`: links that lead nowhere.
    - `results`: folders that an earlier run of this package wrote.
    - `strange`: pipes, devices and whatever else is there and is no file.
    - `again`: linked folders that were looked into already, so that no circle is walked twice.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    again: list[Path] = field(default_factory=list)
    strange: list[Path] = field(default_factory=list)

    def notes(self, root: Path) -> Iterator[str]:
        """Sentences for people on what was passed over."""
        if self.results:
            yield f"passed over results of earlier runs: {some(self.results, root)}"
        if self.strange:
            yield f"passed over pipes and devices, which are no files: {some(self.strange, root)}"
        if self.again:
            yield f"passed over links to folders that are searched already: {some(self.again, root)}"


def look_through(root: Path, *, recurse: bool = True, leave_out: Iterable[Path] = ()) -> Seen:
    """Searches a folder and, unless told otherwise, those below it and those that are linked there.

    Links are followed last, so that a file is found at its real place where it has one below `root`.

    **Arguments:**

    - `leave_out`: folders that are not looked into.

    **Raises:** `OSError` for a folder that cannot be read.
    """
    seen = Seen()
    visited = {_key(path) for path in map(Path.resolve, leave_out) if is_there(path) and path.is_dir()}
    aside = frozenset(visited)
    visited.add(_key(root))
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        if not waiting:
            link = linked.pop(0)
            if _key(link) in visited:
                seen.again += [] if _key(link) in aside else [link]
                continue
            visited.add(_key(link))
            seen.folders.append(link)
            waiting.append(link)
        here = waiting.pop()
        with os.scandir(here) as entries:
            found = sorted((entry for entry in entries if not is_system(entry.name)), key=lambda entry: entry.name)
        for entry in found:
            path = here / entry.name
            # A link to itself is an error to the entry, and to the path no file.
            is_file = path.is_file() if entry.is_symlink() else entry.is_file()
            if is_file:
                seen.files.append(path)
            elif entry.is_symlink() and not path.exists():
                seen.lost.append(path)
            elif not entry.is_dir():
                seen.strange.append(path)
            elif recurse:
                if is_result(path):
                    seen.results.append(path)
                elif entry.is_symlink():
                    linked.append(path)
                elif _key(path) not in visited:
                    visited.add(_key(path))
                    seen.folders.append(path)
                    waiting.append(path)
    for paths in (seen.files, seen.folders, seen.lost, seen.results, seen.again, seen.strange):
        paths.sort()
    return seen


def tell(notes: Iterable[str]) -> None:
    """Logs sentences for people under `lpdseg`; unless a program says otherwise, they reach standard error."""
    for note in notes:
        logging.getLogger("lpdseg").warning("%s", one_line(note))


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or there for the system and not for people."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def some(paths: Sequence[Path], root: Path, most: int = 3) -> str:
    """The first few of many paths, relative to `root`, and how many there are."""
    names = [(path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths[:most]]
    more = f", … ({len(paths)} in all)" if len(paths) > most else ""
    return ", ".join(names) + more


def is_result(folder: Path) -> bool:
    """Whether a folder was written by an earlier run, as the record in it or beside it tells."""
    record = folder.parent / RECORD
    if folder.name in RESULT_FOLDERS and (record.is_file() or _is_state(folder.parent / "states")):
        return True
    return (folder / "run.json").is_file() and (folder / "settings.yaml").is_file()


def _is_state(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("[!.]*.json"))


def _key(folder: Path) -> tuple[int, int]:
    facts = folder.stat()
    return facts.st_dev, facts.st_ino

"""Where what frozen encoders give is kept, and how much of it: one folder for all runs, with one bound.

A store below it belongs to a key, which says what its items are. Whoever uses one holds a lock, and so it is known
which may be removed.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.locks import lock, locked
from lpdseg.training.feature_store import BLOCK, FeatureStore, Part, refusing

_IN_USE, _PLANNING = "in-use", "lock"
_KEY = re.compile(r"[0-9a-f]{32}")


def store_folder() -> Path:
    """`$LPDSEG_CACHE`, else `lpdseg` in `$XDG_CACHE_HOME` or `~/.cache`, and `features` below it.

    **Raises:** `OutputError` where there is no home to have it in.
    """
    try:
        named, shared = os.environ.get("LPDSEG_CACHE"), os.environ.get("XDG_CACHE_HOME")
        folder = Path(named) if named else (Path(shared) if shared else Path.home() / ".cache") / "lpdseg"
        return folder.expanduser().absolute() / "features"
    except RuntimeError as error:
        raise OutputError("there is no home folder to keep features in; name a folder in LPDSEG_CACHE") from error


@contextmanager
def open_store(root: Path, key: str, parts: Sequence[Part], bound: int) -> "Iterator[FeatureStore]":
    """The store of this key with room for as many items as the bound allows, in the order of `parts`.

    Stores of other keys that nobody uses are removed where room is needed, the one that was opened longest ago
    first; those in use never. What is removed and what is there is counted while no other process does so.

    **Arguments:**

    - `key`: 32 hex digits.
    - `bound`: bytes of all stores below `root`.

    **Raises:** `OutputError` for a folder that cannot be written to, or a disk without enough room.
    """
    folder = root / key
    with refusing(root):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(root / _PLANNING):
            others = _make_room(root, folder, sum(part.items * part.nbytes for part in parts), bound)
            held = _plan(parts, bound - others)
            with locked(folder / _IN_USE, wait=False) as alone:
                if alone and others + _size(folder, parts, held) > bound:
                    _cut(folder, parts, held)
            _allocate(root, folder, parts, held)
            used = lock(folder / _IN_USE, shared=True)
            os.utime(folder / _IN_USE)
    try:
        yield FeatureStore(folder, parts, held)
    finally:
        if used is not None:
            os.close(used)


def _make_room(root: Path, folder: Path, needed: int, bound: int) -> int:
    """Removes stores but this one, as far as it takes; bytes of those that are left."""
    sizes = {
        other: _size(other)
        for other in root.iterdir()
        if other != folder and _KEY.fullmatch(other.name) and (other / _IN_USE).exists()
    }
    for other in sorted(sizes, key=lambda other: (other / _IN_USE).stat().st_mtime):
        if sum(sizes.values()) + needed <= bound:
            break
        with locked(other / _IN_USE, wait=False) as free:
            if free:
                shutil.rmtree(other)
                del sizes[other]
    return sum(sizes.values())


def _plan(parts: Iterable[Part], room: int) -> dict[str, int]:
    """Items of each part that `room` bytes hold; the first part that does not fit whole is the last."""
    held = {}
    for part in parts:
        fit = max(0, min(part.items, room // part.nbytes))
        held[part.name] = fit if fit == part.items else fit // BLOCK * BLOCK
        room = room - fit * part.nbytes if fit == part.items else 0
    return held


def _cut(folder: Path, parts: Iterable[Part], held: dict[str, int]) -> None:
    """Takes away what an earlier run with a larger bound has kept beyond the plan."""
    planned = {part.name: held[part.name] * part.nbytes for part in parts}
    for path in folder.glob("*.bin"):
        if path.stat().st_size > planned.get(path.stem, 0):
            os.truncate(path, planned.get(path.stem, 0))
            if (sums := path.with_suffix(".sums")).exists():
                os.truncate(sums, 8 * (held.get(path.stem, 0) // BLOCK))


def _allocate(root: Path, folder: Path, parts: Iterable[Part], held: dict[str, int]) -> None:
    """Gives files their length, with room on the disk for all of it: a disk that is full tells so now.

    **Raises:** `OutputError`.
    """
    missing = {}
    for part in parts:
        path, size = folder / f"{part.name}.bin", held[part.name] * part.nbytes
        there = path.stat().st_size if path.exists() else 0
        if there < size:
            missing[path] = there, size
    needed, free = sum(size - there for there, size in missing.values()), shutil.disk_usage(root).free
    try:
        if needed > free:
            raise _no_room(root, needed, free)
        for path, (_, size) in missing.items():
            with path.open("ab") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    os.truncate(file.fileno(), size)
    except OSError as error:
        for path, (there, _) in missing.items():
            if path.exists():
                os.truncate(path, there)
        raise _no_room(root, needed, free, f" ({error.strerror or error})") from error


def _no_room(root: Path, needed: int, free: int, reason: str = "") -> OutputError:
    return OutputError(
        f"what the frozen encoder gives needs {needed / 1e9:.3g} GB in {root}, where {free / 1e9:.3g} GB are free"
        f"{reason}; free space, name a folder of another disk in LPDSEG_CACHE, or lower model.feature_cache "
        "(in GB; 0: none)"
    )


def _size(folder: Path, parts: Iterable[Part] = (), held: Mapping[str, int] | None = None) -> int:
    """Bytes of a store, once it has what is planned."""
    sizes = {path.stem: path.stat().st_size for path in folder.glob("*.bin")}
    for part in parts:
        sizes[part.name] = max(sizes.get(part.name, 0), (held or {}).get(part.name, 0) * part.nbytes)
    return sum(sizes.values())

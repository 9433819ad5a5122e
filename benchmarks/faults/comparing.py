"""Whether two folders of results are the same: files by their bytes, records but for the time that they tell."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

_PASSED = ("tensorboard",)
"""Folders of event files, whose names and bytes tell the time."""

_TIMES = re.compile(
    r"/([a-z_]*seconds?|minutes(/.*)?|[a-z_]*time|started|ended|finished|waiting_share|loader_wait_share)$"
)
"""Values that tell the time; two runs may happen to agree on one."""

Held = dict[str, Any]
"""By path: the digest of a file's bytes, or the values of a record."""


def held(folder: Path) -> Held:
    """What a folder holds; hidden names count as well."""
    found: Held = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if any(part in _PASSED for part in path.relative_to(folder).parts):
            continue
        found[name] = _record(path) if path.suffix in (".json", ".jsonl") else None
        if found[name] is None:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _record(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        return dict(_leaves([json.loads(line) for line in lines], ""))
    except ValueError:
        return None


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else None
    if inner is None:
        yield place, value
        return
    for key, one in inner:
        yield from _leaves(one, f"{place}/{key}")


def steady(first: Held, second: Held) -> Held:
    """What two undisturbed runs have in common: of records the values that are the same, of others the digest."""
    both: Held = {}
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if isinstance(one, dict) and isinstance(other, dict):
            both[name] = {
                place: value
                for place, value in one.items()
                if other.get(place, other) == value and _TIMES.search(place) is None
            }
        else:
            both[name] = one if one == other else None
    return both


def differences(wanted: Held, found: Held, leave_out: Collection[str] = ()) -> list[str]:
    """What a folder lacks, has too much, or has otherwise than `steady` says."""
    told = [f"lacks {name}" for name in sorted(wanted.keys() - found.keys())]
    told += [f"left {name}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        one, other = wanted[name], found[name]
        if isinstance(one, dict):
            other = other if isinstance(other, dict) else {}
            odd = [place for place, value in one.items() if place not in leave_out and other.get(place) != value]
            told += [f"{name} differs in {', '.join(odd[:3])}"] if odd else []
        elif one is not None and one != other:
            told.append(f"{name} differs")
    return told

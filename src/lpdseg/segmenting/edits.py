"""`edits.yaml`: what an expert says of prototypes, by the names that people see, such as `TUM 3`.

K prototypes in all, class-major; C classes.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lpdseg.errors import DataError
from lpdseg.files import open_file
from lpdseg.plain_yaml import read_yaml_words, write_yaml

BACKGROUND = "background"
_ACTIONS = ("name", "merge", "hide", "move")
_EXAMPLE = "such as `TUM 3: {name: cribriform}` or `TUM 4: {move: STR}`"
_MOST_BYTES = 1 << 20
_LONGEST = 64
"""Letters of a name: it stands in legends, tables and lists of QuPath."""


@dataclass(frozen=True)
class Edit:
    """What is said of one prototype; of `merge`, `hide` and `move` at most one.

    - `name`: what people call it.
    - `merge`: the prototype that it counts as from now on.
    - `hide`: it takes no part.
    - `move`: the class, or background, that its pixels belong to.
    """

    name: str | None = None
    merge: str | None = None
    hide: bool = False
    move: str | None = None

    def as_dict(self) -> dict[str, str | bool]:
        """What is said, for records."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True)
class Offsets:
    """Offsets that were chosen anew for one run under edits.

    - `values`: of each class as trained.
    - `data`: fingerprint of the data set whose validation split they were chosen on.
    - `images`: SHA-256 of the images of that split.
    """

    values: tuple[float, ...]
    data: str
    images: frozenset[str]


@dataclass(frozen=True)
class Edits:
    """A file of edits, as it was read: which prototypes there are, only a run can tell, see `plan`.

    - `source`: the file, for errors; `sha256`: of its bytes, in hex digits.
    - `entries`: by prototype.
    - `offsets`: instead of the run's own.
    """

    source: str
    sha256: str
    entries: Mapping[str, Edit]
    offsets: Offsets | None = None


@dataclass(frozen=True)
class Plan:
    """Edits of a run's prototypes.

    - `trained`: K; the class of each as trained, which the gate and the offsets read.
    - `target`: K; the class that its probability is added to, C for background.
    - `shown`: K; the index that stands for it: its own, or that of the one that it was merged into.
    - `hidden`: indices of those that take no part.
    - `names`: K; what people call them, None where nobody has said.
    """

    trained: tuple[int, ...]
    target: tuple[int, ...]
    shown: tuple[int, ...]
    hidden: tuple[int, ...]
    names: tuple[str | None, ...]

    @property
    def moved(self) -> tuple[int, ...]:
        """Indices of those that count for another class than they were trained for, hidden ones left out."""
        pairs = zip(self.trained, self.target, strict=True)
        return tuple(k for k, (before, now) in enumerate(pairs) if before != now and k not in self.hidden)


def prototype_keys(parts: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """What people call each prototype before it has a name: its class and its number in that, from 1.

    `parts` are the classes of the prototypes, see `Network.parts`.
    """
    return tuple(f"{names[c]} {parts[: k + 1].count(c)}" for k, c in enumerate(parts))


def read_edits(path: str | Path) -> Edits:
    """Reads a file of edits.

    **Raises:** `DataError` for a file that cannot be read, or that says what no edit can say.
    """
    path = Path(path)
    try:
        with open_file(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; name a file of edits with --edits") from error
    return parse_edits(content, str(path))


def parse_edits(content: bytes, source: str) -> Edits:
    """Edits from the content of their file; `source` is what errors name. **Raises:** as `read_edits`."""
    if len(content) > _MOST_BYTES:
        raise DataError(f"{source} has more than 1 MiB, which no file of edits needs; name another with --edits")
    try:
        value = read_yaml_words(content.decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{source} is no valid YAML: {_short(str(error), 300)}") from error
    if not isinstance(value, dict) or not value:
        raise DataError(f"{source} names no prototype; write a line for each that is to change, {_EXAMPLE}")
    entries = {str(key): _entry(f"{source}: {_short(str(key))}", key, said) for key, said in value.items()}
    return Edits(source, hashlib.sha256(content).hexdigest(), entries)


def as_read(edits: str | Path | Edits | None) -> Edits | None:
    """Edits that may be given as their file, or not at all. **Raises:** as `read_edits`."""
    return edits if edits is None or isinstance(edits, Edits) else read_edits(edits)


def as_record(edits: Edits) -> dict[str, Any]:
    """Edits as plain values, without the name of their file and the remarks in it."""
    chosen = edits.offsets
    return {
        "sha256": edits.sha256,
        "said": {key: edit.as_dict() for key, edit in edits.entries.items()},
        "offsets": None
        if chosen is None
        else {"values": list(chosen.values), "data": chosen.data, "images": sorted(chosen.images)},
    }


def from_record(told: Mapping[str, Any], source: str) -> Edits:
    """What `as_record` gave, looked at as closely as a file. **Raises:** as `read_edits`."""
    try:
        read = parse_edits(write_yaml(told["said"]).encode(), source)
        chosen = told["offsets"]
        offsets = None
        if chosen is not None:
            offsets = Offsets(
                tuple(map(float, chosen["values"])), str(chosen["data"]), frozenset(map(str, chosen["images"]))
            )
            if not all(map(math.isfinite, offsets.values)):
                raise ValueError("offsets are no numbers")
        return replace(read, sha256=str(told["sha256"]), offsets=offsets)
    except (KeyError, TypeError, ValueError, OverflowError, yaml.YAMLError) as error:
        raise DataError(f"{source} holds edits that are none ({_short(repr(error))}); get it again") from error


def plan(
    edits: Edits, names: Sequence[str], parts: Sequence[int], retired: frozenset[int], background: bool
) -> Plan:
    """What the edits mean for a run.

    **Arguments:**

    - `names`: of the classes.
    - `parts`: the class of each prototype, see `Network.parts`.
    - `retired`: indices of prototypes that training has given up.
    - `background`: whether masks have background.

    **Raises:** `DataError` for a prototype or class that the run does not have, or edits that contradict one
    another.
    """
    keys = prototype_keys(parts, names)
    places = {key: k for k, key in enumerate(keys)}
    found = {_place(edits, key, key, places, names, parts, retired): edit for key, edit in edits.entries.items()}
    target, shown = list(parts), list(range(len(parts)))
    for k, edit in found.items():
        if edit.move is not None:
            target[k] = _destination(f"{edits.source}: {keys[k]}", edit.move, names, background)
            if target[k] == parts[k]:
                raise DataError(f"{edits.source}: {keys[k]} is of the class {edit.move} already; take the move out")
    for k, edit in found.items():
        if edit.merge is None:
            continue
        into = _place(edits, keys[k], edit.merge, places, names, parts, retired)
        other = found.get(into, Edit())
        why = "itself" if into == k else "one that is hidden" if other.hide else None
        if why is None and other.merge is not None:
            why = f"one that is merged into {_short(other.merge)}"
        if why is not None:
            raise DataError(f"{edits.source}: {keys[k]} cannot be merged into {edit.merge}, {why}; choose another")
        shown[k], target[k] = into, target[into]
    hidden = tuple(sorted(k for k, edit in found.items() if edit.hide))
    called = [found[k].name if k in found else None for k in range(len(parts))]
    _check_names(edits, keys, called, target)
    gone = {*hidden, *retired}
    if not any(k not in gone and target[k] < len(names) for k in range(len(parts))):
        raise DataError(f"{edits.source} leaves no class with a prototype, so masks would be empty; keep one")
    return Plan(tuple(parts), tuple(target), tuple(shown), hidden, tuple(called))


def _short(text: str, most: int = 80) -> str:
    """Text of strangers as part of a sentence: one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _entry(where: str, key: object, said: object) -> Edit:
    if not isinstance(key, str) or not isinstance(said, dict) or not said:
        raise DataError(f"{where} says nothing that can be done; write an action and its value, {_EXAMPLE}")
    values: dict[str, Any] = {}
    for action, value in said.items():
        if action not in _ACTIONS:
            raise DataError(f"{where}: there is no action {_short(str(action))!r}; use {', '.join(_ACTIONS)}")
        if not isinstance(value, str) or not value:
            raise DataError(f"{where}: {action} needs one word or name, {_EXAMPLE}")
        values[action] = value
    if "hide" in values:
        if values["hide"] != "true":
            raise DataError(
                f"{where}: hide can be true alone, got {_short(values['hide'])!r}; leave it out to show it"
            )
        values["hide"] = True
    does: list[str] = [action for action in ("merge", "hide", "move") if action in values]
    if "merge" in does and "name" in values:
        does.append("name")  # what is merged is shown under the other's
    if len(does) > 1:
        raise DataError(f"{where}: {does[0]} and {does[1]} contradict each other; keep one of them")
    name = values.get("name")
    if name is not None and (len(name) > _LONGEST or name != name.strip() or not name.isprintable() or ":" in name):
        raise DataError(
            f"{where}: a name is one line of at most {_LONGEST} letters without colons or blanks at its ends; got "
            f"{name[:_LONGEST]!r}"
        )
    return Edit(**values)


def _place(
    edits: Edits,
    entry: str,
    key: str,
    places: Mapping[str, int],
    names: Sequence[str],
    parts: Sequence[int],
    retired: frozenset[int],
) -> int:
    """The index of a prototype that `entry` is about, or names."""
    where = f"{edits.source}: {_short(entry)}" + ("" if entry == key else f": {_short(key)}")
    found = places.get(key)
    if found is None:
        name, _, _ = key.rpartition(" ")
        if name in names:
            count = parts.count(names.index(name))
            raise DataError(f"{where} is no prototype of this run; {name} has the numbers 1 to {count}")
        raise DataError(
            f"{where} is no prototype of this run; write a class and a number, as in {next(iter(places))!r}: the "
            f"classes are {', '.join(names)}"
        )
    if found in retired:
        raise DataError(f"{where} is retired, so that it takes no part in any mask; take it out of the edits")
    return found


def _destination(where: str, name: str, names: Sequence[str], background: bool) -> int:
    if name in names:
        return names.index(name)
    if name != BACKGROUND:
        raise DataError(
            f"{where} cannot be moved to {_short(name)!r}, which is no class; use {', '.join(names)}"
            + (f" or {BACKGROUND}" if background else "")
        )
    if not background:
        raise DataError(
            f"{where} cannot be moved to background, for masks of this run have none: every pixel gets a class; "
            "hide it instead"
        )
    return len(names)


def _check_names(edits: Edits, keys: Sequence[str], called: Sequence[str | None], target: Sequence[int]) -> None:
    taken = {key.casefold() for key in keys} | {key.rpartition(" ")[2] for key in keys}
    seen: dict[tuple[int, str], str] = {}
    for key, name, c in zip(keys, called, target, strict=True):
        if name is None:
            continue
        if name.casefold() in taken:
            raise DataError(
                f"{edits.source}: {key} cannot be named {name!r}, as prototypes are numbered; choose words"
            )
        other = seen.setdefault((c, name.casefold()), key)
        if other != key:
            raise DataError(
                f"{edits.source}: {other} and {key} of one class are both named {name!r}; name them apart, or "
                "merge one into the other"
            )

"""The folder of a bundle: five files that it may hold, and the SHA-256 of each.

`SHA256SUMS` is of the form that `sha256sum --check` reads. It tells that files are whole and belong together; who
wrote them it does not tell.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lpdseg.errors import CheckpointError
from lpdseg.files import open_file, parse_json, write_text
from lpdseg.sharing.schema import check_description
from lpdseg.version import __version__

DESCRIPTION = "bundle.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
GRAPH = "model.onnx"
SUMS = "SHA256SUMS"
FILES = (DESCRIPTION, WEIGHTS, CARD, GRAPH)
"""What a bundle may hold beside `SUMS`; nothing else is fetched, sent or read."""

_NEEDED = FILES[:3]
SCHEMA = 1
"""Of the description that this version writes."""

_NEWER: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""For each earlier schema what makes one of the next; there is none yet."""

_MOST_BYTES = 32 << 20
"""Of a description, in which whole data sets may be known by the digests of their images."""

_AGAIN = "get the bundle again"


def is_bundle(folder: Path) -> bool:
    """Whether a folder is, or was, a bundle: one file that is lost makes it no run."""
    return (folder / SUMS).is_file() or (folder / DESCRIPTION).is_file()


def seal(folder: Path) -> None:
    """Writes `SUMS` for the files that are there."""
    named = [name for name in FILES if (folder / name).is_file()]
    write_text(folder / SUMS, "".join(f"{_digest(folder / name)}  {name}\n" for name in named))


def check(folder: Path) -> tuple[str, ...]:
    """The names of a bundle's files, once it is sure that each is as it was when the bundle was made.

    **Raises:** `CheckpointError` that names the file which is missing, has changed, or has no place in a bundle.
    """
    sums = read_sums(folder)
    for name, told in sums.items():
        path = folder / name
        try:
            found = _digest(path)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
        if found != told:
            raise CheckpointError(f"{path} has changed: its SHA-256 is not the one in {SUMS}; {_AGAIN}")
    return (*sums, SUMS)


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a bundle, by name. **Raises:** as `check`."""
    path = folder / SUMS
    sums: dict[str, str] = {}
    for line in _read(path, 4096).splitlines():
        fields = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if fields is None or fields[2] in sums:
            raise CheckpointError(f"{path} is no list of SHA-256 and names: {line[:80]!r}; {_AGAIN}")
        if fields[2] not in FILES:
            raise CheckpointError(f"{path} names {fields[2][:80]!r}, which no bundle has; use one that lpdseg made")
        sums[fields[2]] = fields[1]
    lacking = next((name for name in _NEEDED if name not in sums), None)
    if lacking is not None:
        raise CheckpointError(f"{path} does not name {lacking}, which every bundle has; {_AGAIN}")
    return sums


def read_description(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself, in the words of the present schema.

    **Raises:** `CheckpointError` where it cannot be read, has changed, is of a later schema, or does not
    keep to its own.
    """
    path = folder / DESCRIPTION
    told = read_sums(folder)[DESCRIPTION]
    text = _read(path, _MOST_BYTES)
    if hashlib.sha256(text.encode("utf-8")).hexdigest() != told:
        raise CheckpointError(f"{path} has changed: its SHA-256 is not the one in {SUMS}; {_AGAIN}")
    try:
        described = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {str(error)[:200]}; {_AGAIN}") from error
    schema = described.get("schema") if isinstance(described, dict) else None
    if type(schema) is not int:
        raise CheckpointError(f"{path} does not say its schema, a whole number; use a bundle that lpdseg made")
    if schema > SCHEMA:
        raise CheckpointError(
            f"{path} has schema {str(schema)[:20]}, and lpdseg {__version__} knows those up to {SCHEMA}; install a "
            "later lpdseg"
        )
    while schema < SCHEMA:
        if schema not in _NEWER:
            raise CheckpointError(f"{path} has schema {str(schema)[:20]}, which there never was; {_AGAIN}")
        described, schema = _NEWER[schema](described), schema + 1
    check_description(described, path)
    return dict(described)


def _read(path: Path, most: int) -> str:
    """A file of text, of at most so many bytes."""
    try:
        with open_file(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
    if len(content) > most:
        raise CheckpointError(f"{path} has more than {most:,} bytes, which no bundle needs; {_AGAIN}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is no text in UTF-8; {_AGAIN}") from error


def _digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

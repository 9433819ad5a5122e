"""The state of a slide: how its outputs were made, so that the next run knows whether they are still true."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpdseg.files import write_json
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides.layout import output_path, state_path

FORMAT = 1
VERSION = 2
"""Goes up whenever the same slide and settings would give other outputs."""

_ENDS = 1 << 20
"""Bytes at both ends of a slide that are compared: whole slides take minutes to read."""


def identity(path: Path) -> dict[str, Any]:
    """What tells a slide from another: size, time of change, and SHA-256 over the size and both ends.

    Of a MIRAX slide the files in its folder count as well, by name and size.

    **Raises:** `SlideError` where it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        facts = path.stat()
        digest.update(str(facts.st_size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, facts.st_size - _ENDS))
            digest.update(file.read(_ENDS))
        folder = path.with_suffix("")
        if path.suffix.lower() == ".mrxs" and folder.is_dir():
            for part in sorted(folder.iterdir()):
                digest.update(f"{part.name} {part.stat().st_size} {part.stat().st_mtime_ns}".encode())
    except FileNotFoundError as error:
        raise SlideError(f"{path} does not exist; restore it or leave it out") from error
    except OSError as error:
        raise SlideError(f"{path} cannot be read ({error.strerror}); change its rights or leave it out") from error
    return {"bytes": facts.st_size, "modified_ns": facts.st_mtime_ns, "sha256_of_ends": digest.hexdigest()}


def describe_output(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of a folder's files, and the options that it alone depends on."""
    digest, total = hashlib.sha256(), 0
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    for part in files:
        if path.is_dir():
            digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        total += part.stat().st_size
    return {"bytes": total, "sha256": digest.hexdigest(), "options": dict(options)}


def read_state(out: Path, stem: str) -> dict[str, Any] | None:
    """A slide's state; None where there is none that this version reads."""
    try:
        state = json.loads(state_path(out, stem).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and _is_readable(state) else None


def _is_readable(state: dict[str, Any]) -> bool:
    """Whether somebody has changed its shape: what is finished tells all that its result is made from."""
    finished = state.get("status") == "finished"
    shapes: dict[str, type | tuple[type, ...]] = {"slide": dict, "settings": dict, "outputs": dict, "earlier": list}
    if finished:
        number = (int, float)
        shapes |= {"notes": list, "areas": list, "tissue_share": number, "windows": int}
        shapes |= {"windows_per_second": number, "waiting_share": number}
    if state.get("format") != FORMAT or not all(isinstance(state.get(key), kind) for key, kind in shapes.items()):
        return False
    known = {"name", "pixels", "mm2", "percent"}
    noted = all(isinstance(one, dict) and "options" in one for one in state["outputs"].values())
    return noted and all(isinstance(area, dict) and set(area) == known for area in state.get("areas", []))


def write_state(out: Path, stem: str, values: Mapping[str, Any]) -> None:
    """Writes a slide's state.

    **Raises:** `OutputError`.
    """
    write_json(state_path(out, stem), {"format": FORMAT, **values})


def is_finished(
    state: Mapping[str, Any] | None,
    out: Path,
    stem: str,
    slide: Mapping[str, Any],
    settings: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Whether a slide's outputs are those that would be made now; their content is checked.

    **Arguments:**

    - `slide`: its identity.
    - `settings`: all that its labels depend on.
    - `options`: for each kind that is wanted, what it alone depends on.
    """
    if state is None or state.get("status") != "finished" or not is_of(state, slide, settings):
        return False
    for kind, wanted in options.items():
        noted = state["outputs"].get(kind)
        path = output_path(out, kind, stem)
        if noted is None or noted["options"] != _as_read(wanted) or not path.exists():
            return False
        if describe_output(path, wanted) | {"options": noted["options"]} != noted:
            return False
    return True


def is_of(state: Mapping[str, Any], slide: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a state is of this slide with these settings, so that its labels are those of now."""
    return bool(state["slide"] == slide and state["settings"] == _as_read(settings))


def left_by(
    state: Mapping[str, Any] | None, slide: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What earlier runs have left of a slide: outputs that are still true, as noted, and kinds that are not.

    Those that are not may be of several runs, of which the later ones did not get to their end.
    """
    if state is None:
        return {}, []
    same = is_of(state, slide, settings)
    untrue = {*state["earlier"], *([] if same else state["outputs"])}
    return (dict(state["outputs"]) if same else {}), sorted(untrue)


def _as_read(value: Mapping[str, Any]) -> Any:
    """As it would come back from a file: tuples become lists."""
    return json.loads(json.dumps(value))

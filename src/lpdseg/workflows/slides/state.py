"""The state of a slide: how its outputs were made, so that the next run knows whether they are still true."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from lpdseg.files import open_file, read_json, write_json
from lpdseg.schema import Described, Seconds, Share, Whole, fits
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides.layout import output_path, state_path

FORMAT = 2
VERSION = 2
"""Goes up whenever the same slide and settings would give other outputs."""

SHORT = 12
"""Digits of a model's digest that people are shown."""

_ENDS = 1 << 20
"""Bytes at both ends of a slide that are compared: whole slides take minutes to read."""

_BLOCKS, _BLOCK = 16, 1 << 18
"""How many blocks of what lies between the ends are compared, and the bytes of each."""


def identity(path: Path, noted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What tells a slide from another: size and content, by SHA-256.

    Whole slides take a while to read, so that the digest of a noted identity counts where size, both ends and 16
    blocks at even distances between them are those of it; times of change tell nothing. What such a look misses is
    a change that keeps the size and lies between the blocks: shorter than a sixteenth of the file. Slides of up to
    6 MiB are compared as a whole. Of a MIRAX slide the files in its folder count as well, each like this.

    **Raises:** `SlideError` where it cannot be read.
    """
    ends, middle = hashlib.sha256(), hashlib.sha256()
    try:
        facts = [(part, part.stat().st_size) for part in _parts(path)]
        for part, size in facts:
            ends.update(f"{part.name} {size}".encode("utf-8", "surrogateescape") if part != path else b"")
            with open_file(part) as file:
                for start in (0, max(0, size - _ENDS)):
                    file.seek(start)
                    (ends if part == path else middle).update(file.read(_ENDS))
                for start, length in _between(size):
                    file.seek(start)
                    middle.update(file.read(length))
        quick = {
            "bytes": sum(size for _, size in facts),
            "sha256_of_ends": ends.hexdigest(),
            "sha256_of_middle": middle.hexdigest(),
        }
        if noted is not None and all(noted.get(name) == value for name, value in quick.items()):
            return {**quick, "sha256": noted["sha256"]}
        whole = hashlib.sha256()
        for part, _ in facts:
            with open_file(part) as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    except FileNotFoundError as error:
        raise SlideError(f"{path} does not exist; restore it or leave it out") from error
    except OSError as error:
        raise SlideError(f"{path} cannot be read ({error.strerror}); change its rights or leave it out") from error
    return {**quick, "sha256": whole.hexdigest()}


def check_unchanged(path: Path, known: Mapping[str, Any]) -> None:
    """Makes sure, by the quick look of `identity`, that what was read is what is known as the slide.

    **Raises:** `SlideError` where it has changed since, or cannot be read.
    """
    if identity(path, known) != known:
        raise SlideError(
            f"{path} has changed while it was read, so results may be of either; run this again once it is whole"
        )


def _between(size: int) -> list[tuple[int, int]]:
    """Start and bytes of what is compared between the ends of a file: all of it, or a block in each sixteenth."""
    middle = size - 2 * _ENDS
    if middle <= _BLOCKS * _BLOCK:
        return [(_ENDS, max(middle, 0))]
    return [(_ENDS + ((2 * i + 1) * middle // _BLOCKS - _BLOCK) // 2, _BLOCK) for i in range(_BLOCKS)]


def _parts(path: Path) -> list[Path]:
    folder = path.with_suffix("")
    if path.suffix.lower() != ".mrxs" or not folder.is_dir():
        return [path]
    return [path, *sorted(part for part in folder.iterdir() if part.is_file())]


def describe_output(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of a folder's files, and the options that it alone depends on."""
    digest, total = hashlib.sha256(), 0
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    for part in files:
        if path.is_dir():
            digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        with open_file(part) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        total += part.stat().st_size
    return {"bytes": total, "sha256": digest.hexdigest(), "options": dict(options)}


class _Slide(Described):
    sha256: str


class _Settings(Described):
    predict: dict[str, Any] = Field(default_factory=dict)


class _Made(Described):
    slide: _Slide
    settings: _Settings


class _Output(Described):
    bytes: Whole
    sha256: str
    options: dict[str, Any]


class _Earlier(_Made, _Output):
    pass


class _Area(Described):
    model_config = ConfigDict(extra="forbid")
    name: str
    pixels: Whole
    mm2: float | None
    percent: float | None


class _State(_Made):
    """A slide's state, in which somebody may have changed something."""

    format: Literal[2]
    path: str
    outputs: dict[str, _Output]
    earlier: dict[str, _Earlier]
    areas: list[_Area] = Field(default_factory=list)


class _Finished(_State):
    """What is finished tells all that its result is made from."""

    notes: list[str]
    areas: list[_Area]
    tissue_share: Share
    windows: Whole
    windows_per_second: Seconds
    waiting_share: Seconds


def read_state(out: Path, stem: str) -> dict[str, Any] | None:
    """A slide's state; None where there is none that this version reads."""
    try:
        state: dict[str, Any] = read_json(state_path(out, stem))
    except (OSError, ValueError):
        return None
    finished = isinstance(state, dict) and state.get("status") == "finished"
    return state if fits(_Finished if finished else _State, state) else None


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
    depends: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Whether a slide's outputs are those that would be made now; their content is checked.

    **Arguments:**

    - `slide`: its identity.
    - `settings`: all that its labels depend on.
    - `depends`: for each kind that is wanted, what it alone depends on.
    """
    if state is None or state.get("status") != "finished" or why_other(state, slide, settings) is not None:
        return False
    for kind, wanted in depends.items():
        noted = state["outputs"].get(kind)
        if noted is None or noted["options"] != _as_read(wanted) or not is_there(out, kind, stem, noted):
            return False
    return True


def is_there(out: Path, kind: str, stem: str, noted: Mapping[str, Any]) -> bool:
    """Whether an output is on disk with the content that was noted."""
    path = output_path(out, kind, stem)
    if not path.exists():
        return False
    found = describe_output(path, {})
    return all(found[name] == noted[name] for name in ("bytes", "sha256"))


def why_other(noted: Mapping[str, Any], slide: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """What the slide and settings that were noted differ in from those of now; None where labels are the same."""
    if noted["slide"]["sha256"] != slide["sha256"]:
        return "the slide as it was before it changed"
    theirs, ours = _flat(noted["settings"]), _flat(_as_read(settings))
    if theirs.get("weights_sha256") != ours.get("weights_sha256"):
        return f"another model ({str(theirs.get('weights_sha256'))[:SHORT]})"
    if theirs.get("edits_sha256") != ours.get("edits_sha256"):
        before = theirs.get("edits_sha256")
        return "no edits" if before is None else f"other edits ({str(before)[:SHORT]})"
    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    return f"other settings ({', '.join(names)})" if names else None


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of prediction, such as the gate, beside the others."""
    predict = settings.get("predict", {})
    return {**{f"predict.{name}": value for name, value in predict.items()}, **settings, "predict": None}


def left_by(
    state: Mapping[str, Any] | None, out: Path, stem: str, slide: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What earlier runs have left of a slide: outputs that are still true, as noted, and those that are not, each
    with its slide and settings, and `why` it is not.

    Those that are not may be of several runs; what a run that did not end has written over is left out.
    """
    if state is None:
        return {}, {}
    made = {"slide": state["slide"], "settings": state["settings"]}
    entries = {kind: noted | made for kind, noted in state["outputs"].items()}
    entries |= {kind: noted for kind, noted in state["earlier"].items() if is_there(out, kind, stem, noted)}
    true, untrue = dict[str, Any](), dict[str, Any]()
    for kind, noted in entries.items():
        why = why_other(noted, slide, settings)
        if why is None:
            true[kind] = {name: value for name, value in noted.items() if name in ("bytes", "sha256", "options")}
        elif output_path(out, kind, stem).exists():
            untrue[kind] = noted | {"why": why}
    return true, untrue


def _as_read(value: Mapping[str, Any]) -> Any:
    """As it would come back from a file: tuples become lists."""
    return json.loads(json.dumps(value))

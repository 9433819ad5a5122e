"""Where what is made of a slide goes below the output folder."""

import glob
from collections.abc import Iterator
from pathlib import Path

from lpdseg.files import result_name
from lpdseg.plain import plain_text
from lpdseg.temporary import leftover_of
from lpdseg.workflows.slides.kinds import KINDS

WORK = ".work"
"""Folder for what is only there while a slide is being segmented."""


def output_path(out: Path, kind: str, stem: str) -> Path:
    """Where a slide's output goes, under a name that every reader can take, see `plain_text` and `result_name`.

    Not `with_suffix`: a stem may hold points of its own.
    """
    return out / KINDS[kind].folder / f"{plain_text(result_name(stem))}{KINDS[kind].suffix}"


def work_path(out: Path, stem: str) -> Path:
    """The folder that a slide is worked on in."""
    return out / WORK / f"{result_name(stem)}.parts"


def lock_path(out: Path, stem: str) -> Path:
    """Who holds it works on the slide."""
    return out / WORK / f"{result_name(stem)}.lock"


def state_path(out: Path, stem: str) -> Path:
    """Where a slide's state is."""
    return out / "states" / f"{plain_text(result_name(stem))}.json"


def leftovers(out: Path, stem: str) -> Iterator[Path]:
    """What a process that was killed may have left of a slide: temporary files, and the folder it worked in."""
    final = [*(output_path(out, kind, stem) for kind in KINDS), state_path(out, stem)]
    for path in final:
        yield from (found for found in path.parent.glob(f".{glob.escape(path.name)}.*") if leftover_of(found, path))
    if work_path(out, stem).exists():
        yield work_path(out, stem)

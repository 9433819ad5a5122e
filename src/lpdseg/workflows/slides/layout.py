"""Where what is made of a slide goes below the output folder."""

from collections.abc import Iterator
from pathlib import Path

from lpdseg.workflows.slides.kinds import KINDS

WORK = ".work"
"""Folder for what is only there while a slide is being segmented."""


def output_path(out: Path, kind: str, stem: str) -> Path:
    """Where a slide's output goes. Not `with_suffix`: a stem may hold points of its own."""
    return out / KINDS[kind].folder / f"{stem}{KINDS[kind].suffix}"


def state_path(out: Path, stem: str) -> Path:
    """Where a slide's state is."""
    return out / "states" / f"{stem}.json"


def leftovers(out: Path, stem: str) -> Iterator[Path]:
    """What a process that was killed may have left of a slide: temporary files, and the folder it worked in."""
    final = [*(output_path(out, kind, stem) for kind in KINDS), state_path(out, stem)]
    for path in final:
        for found in path.parent.glob(f".{_escaped(path.name)}.*"):
            rest = found.name.removeprefix(f".{path.name}")
            if ".tmp" in rest or rest.endswith(".old"):
                yield found
    if (out / WORK / stem).exists():
        yield out / WORK / stem


def _escaped(name: str) -> str:
    """A name that a pattern takes as it is: names of patches and slides hold brackets."""
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in name)

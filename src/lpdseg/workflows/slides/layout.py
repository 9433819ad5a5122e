"""What can be made of a slide, and where it goes below the output folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lpdseg.errors import SettingsError

WORK = ".work"
"""Folder for what is only there while a slide is being segmented."""


@dataclass(frozen=True)
class Kind:
    """One kind of output: its folder, how its files end, and the modules that write it."""

    folder: str
    suffix: str
    modules: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "geojson": Kind("geojson", ".geojson", ("rasterio", "shapely")),
    "geojson.gz": Kind("geojson", ".geojson.gz", ("rasterio", "shapely")),
    "ome-tiff": Kind("masks", ".ome.tif", ("tifffile", "imagecodecs")),
    "zarr": Kind("probabilities", ".ome.zarr", ("zarr", "numcodecs")),
    "png": Kind("overlays", ".png"),
    "csv": Kind("areas", ".csv"),
}
"""By the name that `--to` takes."""


def parse_kinds(words: str | Iterable[str]) -> tuple[str, ...]:
    """Names of kinds, separated by commas or one by one → each once, in the order of `KINDS`.

    **Raises:** `SettingsError` for one that does not exist, or none.
    """
    parts = words.split(",") if isinstance(words, str) else [part for word in words for part in word.split(",")]
    names = [part.strip() for part in parts if part.strip()]
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        told = f"no output {unknown[0]!r}" if unknown else "no output is named"
        raise SettingsError(f"{told}; slides can become {', '.join(KINDS)}")
    return tuple(name for name in KINDS if name in names)


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

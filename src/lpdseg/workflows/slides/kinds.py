"""The kinds of output that a slide can become: an entry for each, with its place, its writer and what it needs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lpdseg.errors import SettingsError
from lpdseg.export.areas import ClassArea, write_areas
from lpdseg.export.geojson import write_geojson
from lpdseg.export.label_tiff import write_label_tiff
from lpdseg.export.ome_tiff import write_grey_ome_tiff, write_ome_tiff
from lpdseg.export.ome_zarr import probability_store
from lpdseg.export.slide_overlay import write_slide_overlay
from lpdseg.export.unsure_squares import write_unsure_squares
from lpdseg.segmenting.slides.stream import RowStore
from lpdseg.segmenting.uncertainty import meaning
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds
from lpdseg.workflows.slides.options import SlideOptions

_PICTURE = 2048
"""The longer side of an overlay in pixels."""


@dataclass(frozen=True)
class Segmented:
    """A slide whose labels are known.

    - `name`: of the slide in tables.
    - `view`: the slide at the resolution of the labels.
    """

    name: str
    labels: LabelMap
    view: AtMpp
    areas: Sequence[ClassArea]


Chosen = Mapping[str, Any]
"""What one output alone depends on, besides the labels; kept in the state."""


def _nothing(options: SlideOptions, bounds: Bounds | None) -> dict[str, Any]:
    return {}


def _where(options: SlideOptions, bounds: Bounds | None) -> dict[str, Any]:
    return {"origin": list(origin_of(options, bounds))}


def origin_of(options: SlideOptions, bounds: Bounds | None) -> tuple[float, float]:
    """The pixel of level 0 that coordinates in files count from."""
    return (float(bounds.x), float(bounds.y)) if options.from_bounds and bounds is not None else (0.0, 0.0)


@dataclass(frozen=True)
class Kind:
    """One kind of output.

    - `folder`, `suffix`: where it goes below the output folder, and how its files end.
    - `modules`: the libraries that write it.
    - `write`: makes the file of a segmented slide, and gives what is worth knowing about it in sentences. Raises
      `OutputError`, or `OSError` where the disk is full; `SlideError` where the slide cannot be read for it.
    - `store`: instead of that opens what takes probabilities while the slide is segmented: (path, map whose labels
      are not known yet, channels).
    - `depends`: what the output alone depends on, from the options and the bounds of the slide.
    - `of`: what its labels are.
    """

    folder: str
    suffix: str
    modules: tuple[str, ...] = ()
    write: Callable[[Path, Segmented, Chosen], Iterator[str]] | None = None
    store: Callable[[Path, LabelMap, Sequence[str]], AbstractContextManager[RowStore]] | None = None
    depends: Callable[[SlideOptions, Bounds | None], dict[str, Any]] = _nothing
    of: Literal["classes", "prototypes", "uncertainty"] = "classes"


def _regions_depend(options: SlideOptions, bounds: Bounds | None) -> dict[str, Any]:
    return _where(options, bounds) | {"simplify_um": options.simplify_um, "minimum_um2": options.minimum_um2}


def _write_regions(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    minimum = chosen["minimum_um2"]
    summary = write_geojson(slide.labels, path, simplify_um=chosen["simplify_um"], minimum_um2=minimum)
    if summary.left_out:
        every = summary.features + summary.left_out
        yield (
            f"{summary.left_out} of {every} regions, {_area(summary.left_out_mm2)} in all, are below --min-area "
            f"{minimum:g} µm² and not in {path.name}"
        )
    if summary.changed:
        yield f"--simplify moved {summary.changed:.2%} of the pixels to another class in {path.name}"


def _area(mm2: float) -> str:
    return f"{mm2:.3g} mm²" if mm2 >= 0.01 else f"{mm2 * 1e6:.4g} µm²"


def _write_mask(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    write_ome_tiff(slide.labels, path)
    yield from ()


def _write_plain_mask(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    write_label_tiff(slide.labels, path)
    yield from ()


def _write_uncertainty(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    told = meaning(chosen["temperature"], chosen["unsure"])
    write_grey_ome_tiff(slide.labels, path, "uncertainty", {name: str(value) for name, value in told.items()})
    yield from ()


def _write_unsure(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    write_unsure_squares(slide.labels, path, 255 * (1 - chosen["unsure"]))
    yield from ()


def _write_picture(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    # Slides hold smaller levels, from which a picture is read much faster.
    view, bounds = slide.view, slide.labels.bounds
    width, height = slide.labels.slide_size if bounds is None else (bounds.width, bounds.height)
    across = max(width * view.mpp.x, height * view.mpp.y)
    coarse = AtMpp(view.slide, view.mpp, max(view.wanted, across / _PICTURE))
    write_slide_overlay(coarse, slide.labels, path, _PICTURE)
    yield from ()


def _write_table(path: Path, slide: Segmented, chosen: Chosen) -> Iterator[str]:
    write_areas({slide.name: slide.areas}, path, slide.labels.about)
    yield from ()


_POLYGONS = ("rasterio", "shapely")
_TIFF = ("tifffile", "imagecodecs")

_NAMED: dict[str, Kind] = {
    "geojson": Kind("geojson", ".geojson", _POLYGONS, _write_regions, depends=_regions_depend),
    "geojson.gz": Kind("geojson", ".geojson.gz", _POLYGONS, _write_regions, depends=_regions_depend),
    "ome-tiff": Kind("masks", ".ome.tif", _TIFF, _write_mask, depends=_where),
    "label-tiff": Kind("labels", ".labels.tif", _TIFF, _write_plain_mask, depends=_where),
    "zarr": Kind("probabilities", ".ome.zarr", ("zarr", "numcodecs"), store=probability_store, depends=_where),
    "uncertainty": Kind(
        "uncertainty", ".uncertainty.ome.tif", _TIFF, _write_uncertainty, depends=_where, of="uncertainty"
    ),
    "unsure": Kind("uncertainty", ".unsure.geojson", (), _write_unsure, depends=_where, of="uncertainty"),
    "png": Kind("overlays", ".png", (), _write_picture),
    "csv": Kind("areas", ".csv", (), _write_table),
}
"""By the name that `--to` takes."""

_OF_PROTOTYPES = {
    name: f"{name} of prototypes"
    for name, kind in _NAMED.items()
    if kind.write is not None and kind.of == "classes"
}

KINDS: dict[str, Kind] = _NAMED | {
    other: replace(_NAMED[name], folder="prototypes", suffix=f".prototypes{_NAMED[name].suffix}", of="prototypes")
    for name, other in _OF_PROTOTYPES.items()
}
"""By name; with `--prototypes` there is another file of most kinds, in which each prototype counts as a class."""

_ASKED_OTHERWISE = {"prototypes": "; for maps of prototypes add --prototypes", "probabilities": "; zarr has them"}
"""What people take for kinds, since the viewer's layers are called so."""


def parse_kinds(words: str | Iterable[str], prototypes: bool = False) -> tuple[str, ...]:
    """Names that `--to` takes, separated by commas or one by one → kinds, each once, in the order of `KINDS`.

    `prototypes` asks for the same of prototypes.

    **Raises:** `SettingsError` for one that does not exist, or none; where prototypes are wanted of kinds that have
    none.
    """
    parts = words.split(",") if isinstance(words, str) else [part for word in words for part in word.split(",")]
    names = [part.strip() for part in parts if part.strip()]
    unknown = [name for name in names if name not in _NAMED]
    if unknown or not names:
        told = f"no output {unknown[0]!r}" if unknown else "no output is named"
        way = _ASKED_OTHERWISE.get(unknown[0], "") if unknown else ""
        raise SettingsError(f"{told}; slides can become {', '.join(_NAMED)}{way}")
    asked = [name for name in _NAMED if name in names]
    also = [_OF_PROTOTYPES[name] for name in asked if name in _OF_PROTOTYPES] if prototypes else []
    if prototypes and not also:
        raise SettingsError(
            f"there are no prototypes in --to {', '.join(asked)}; name another kind beside it, or leave "
            "--prototypes out"
        )
    return (*asked, *also)

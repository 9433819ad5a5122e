"""From a segmented slide to the files that were asked for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lpdseg.export.areas import ClassArea, write_areas
from lpdseg.export.geojson import write_geojson
from lpdseg.export.ome_tiff import write_ome_tiff
from lpdseg.export.slide_overlay import write_slide_overlay
from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.label_map import LabelMap
from lpdseg.workflows.slides.layout import output_path

_PICTURE = 2048
"""The longer side of an overlay in pixels."""


def write_outputs(
    label_map: LabelMap,
    view: AtMpp,
    areas: Sequence[ClassArea],
    out: Path,
    stem: str,
    options: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Writes each kind but `zarr`, which is written while the slide is segmented.

    **Arguments:**

    - `view`: the slide at the resolution of the labels.
    - `options`: by kind, see `Wanted.options`.

    **Returns:** what is worth knowing about the files, in sentences.

    **Raises:** `OutputError`, or `OSError` where the disk is full; `SettingsError` where a library is missing;
    `SlideError` where the slide cannot be read for its picture.
    """
    return [
        fact
        for kind in options
        for fact in _write(kind, output_path(out, kind, stem), label_map, view, areas, options)
    ]


def _write(
    kind: str,
    path: Path,
    label_map: LabelMap,
    view: AtMpp,
    areas: Sequence[ClassArea],
    options: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    if kind.startswith("geojson"):
        chosen = options[kind]
        x, y = chosen["offset"]
        summary = write_geojson(
            label_map,
            path,
            simplify_um=chosen["simplify_um"],
            minimum_um2=chosen["minimum_um2"],
            offset=(float(x), float(y)),
        )
        if summary.left_out:
            area = f"{summary.left_out_mm2:.3g} mm²"
            yield f"{summary.left_out} regions ({area}) below --min-area are not in {path.name}"
        if summary.changed:
            yield f"--simplify moved {summary.changed:.2%} of the pixels to another class in {path.name}"
    elif kind == "ome-tiff":
        write_ome_tiff(label_map, path)
    elif kind == "png":
        # Slides hold smaller levels, from which a picture is read much faster.
        across = max(label_map.slide_size[0] * view.mpp.x, label_map.slide_size[1] * view.mpp.y)
        coarse = AtMpp(view.slide, view.mpp, max(view.wanted, across / _PICTURE))
        write_slide_overlay(coarse, label_map, path, _PICTURE)
    elif kind == "csv":
        write_areas({path.name.removesuffix(".csv"): areas}, path)

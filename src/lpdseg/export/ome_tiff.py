"""A segmented slide as a picture that slide viewers open: a pyramid of labels, or of grey, in one OME-TIFF."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from lpdseg.export.describing import described, fixed_uuid
from lpdseg.export.label_pyramid import write_label_pyramid
from lpdseg.export.ome_zarr import halved_mean
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses


def write_ome_tiff(label_map: LabelMap, path: Path) -> None:
    """Writes an 8-bit OME-TIFF of labels, see `write_label_pyramid`, with the smaller levels as sub-images.

    The metadata hold the size of a pixel in microns, the classes as a map from value to name, and what `described`
    gives as JSON. Where coordinates count from the corner of what was scanned, the position of the image's own
    corner is negative.

    The colours of the classes are the TIFF's palette. Fiji, ASAP, Pillow and tifffile take them from there. QuPath
    does not read palettes and shows the values in grey (for QuPath there is `write_geojson`); napari gets numbers,
    to be opened as labels. OpenSlide and what reads through it see the first level alone; for them there is
    `write_label_tiff`. Where the classes have no background, pixels without a class have value 255 and its colour.

    **Raises:** `SettingsError` where the extra `slides` is missing; `OutputError`.
    """

    def options(level: int, levels: int) -> dict[str, object]:
        known = {"Namespace": "lpdseg/tissue-classes", **_by_value(label_map.classes)}
        first = _first(label_map, path, levels, "tissue class", known) if level == 0 else {}
        return {"photometric": "palette", "colormap": _colour_map(label_map.classes), **first}

    write_label_pyramid(label_map, path, options, ome=True)


def write_grey_ome_tiff(grey: LabelMap, path: Path, channel: str, told: Mapping[str, str]) -> None:
    """Writes values of 8 bits as a grey OME-TIFF, each smaller level the mean of four, otherwise as
    `write_ome_tiff`.

    **Arguments:**

    - `grey`: whose labels are these values.
    - `channel`: what they are called.
    - `told`: what they mean, a map of the metadata.

    **Raises:** as `write_ome_tiff`.
    """

    def options(level: int, levels: int) -> dict[str, object]:
        known = {"Namespace": f"lpdseg/{channel}", **told}
        first = _first(grey, path, levels, channel, known) if level == 0 else {}
        return {"photometric": "minisblack", **first}

    as_they_are = np.arange(256, dtype=np.uint8)
    write_label_pyramid(grey, path, options, table=as_they_are, halve=_mean_of_four, ome=True)


def _mean_of_four(values: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    mean: UInt8[np.ndarray, "h w"] = halved_mean(values[None])[0]
    return mean


def _colour_map(classes: TissueClasses) -> UInt16[np.ndarray, "3 256"]:
    """RGB by value on disk, 0..65535 as TIFF has it."""
    palette = classes.palette()
    palette[classes.unknown] = classes.background_colour
    colours: UInt16[np.ndarray, "3 256"] = palette.T.astype(np.uint16) * 257
    return colours


def _by_value(classes: TissueClasses) -> dict[str, str]:
    by_value = {str(value): name for name, value in zip(classes.names, classes.indices, strict=True)}
    return by_value if classes.background is None else by_value | {str(classes.background): "background"}


def _first(label_map: LabelMap, path: Path, levels: int, channel: str, known: dict[str, str]) -> dict[str, object]:
    """What the first level alone has: the levels within it, and what goes into the OME-XML."""
    metadata = {
        "axes": "YX",
        "Name": path.name.removesuffix(".ome.tif").removesuffix(".tif"),
        "Description": json.dumps(described(label_map), ensure_ascii=False),
        # By default it would hold the address of the machine.
        "UUID": f"urn:uuid:{fixed_uuid(label_map, path.name, label_map.about)}",
        "Creator": "lpdseg",
        "PhysicalSizeX": label_map.mpp[0],
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": label_map.mpp[1],
        "PhysicalSizeYUnit": "µm",
        "Plane": {
            axis: [value] for axis, value in zip(("PositionX", "PositionY"), label_map.corner_um, strict=True)
        }
        | {"PositionXUnit": ["µm"], "PositionYUnit": ["µm"]},
        "Channel": {"Name": [channel]},
        "MapAnnotation": known,
    }
    return {"subifds": levels - 1, "metadata": metadata}

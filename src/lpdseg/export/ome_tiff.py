"""A segmented slide as a picture that slide viewers open: a pyramid of labels in one OME-TIFF."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from lpdseg.export.describing import described, fixed_uuid
from lpdseg.export.label_pyramid import write_label_pyramid
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
        first = {"subifds": levels - 1, "metadata": _metadata(label_map, path)} if level == 0 else {}
        return {"photometric": "palette", "colormap": _colour_map(label_map.classes), **first}

    write_label_pyramid(label_map, path, options, ome=True)


def _colour_map(classes: TissueClasses) -> UInt16[np.ndarray, "3 256"]:
    """RGB by value on disk, 0..65535 as TIFF has it."""
    palette = classes.palette()
    palette[classes.unknown] = classes.background_colour
    colours: UInt16[np.ndarray, "3 256"] = palette.T.astype(np.uint16) * 257
    return colours


def _metadata(label_map: LabelMap, path: Path) -> dict[str, object]:
    """What goes into the OME-XML."""
    classes = label_map.classes
    by_value = {str(value): name for name, value in zip(classes.names, classes.indices, strict=True)}
    if classes.background is not None:
        by_value[str(classes.background)] = "background"
    return {
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
        "Channel": {"Name": ["tissue class"]},
        "MapAnnotation": {"Namespace": "lpdseg/tissue-classes", **by_value},
    }

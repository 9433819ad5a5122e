"""What an OME-Zarr of probabilities says of itself: its attributes, and OME-XML for Bio-Formats."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from lpdseg.export.describing import described, fixed_uuid
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import Colour
from lpdseg.version import __version__

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def attributes(
    label_map: LabelMap, name: str, channels: Sequence[str], colours: Sequence[Colour], levels: int
) -> dict[str, Any]:
    """The attributes of version 0.4, with an `omero` block as complete as TIAToolbox wants it, and what the values
    mean. Where coordinates count from the corner of what was scanned, each level is moved there."""
    x, y = label_map.corner_um
    moved = [{"type": "translation", "translation": [0.0, y, x]}] if x or y else []
    return {
        "name": "lpdseg",  # what wrote it, for TIAToolbox
        "version": __version__,
        "multiscales": [
            {
                "version": "0.4",
                "name": name,
                "type": "mean",
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [
                    {
                        "path": str(level),
                        "coordinateTransformations": [{"type": "scale", "scale": _scale(label_map, level)}, *moved],
                    }
                    for level in range(levels)
                ],
            }
        ],
        "omero": {
            "id": 1,
            "name": name,
            "version": "0.4",
            "channels": [_channel(label, colour) for label, colour in zip(channels, colours, strict=True)],
            "rdefs": {"defaultT": 0, "defaultZ": 0, "model": "color"},
        },
        "lpdseg": {"probability": "value / 255"} | described(label_map),
    }


def _scale(label_map: LabelMap, level: int) -> list[float]:
    return [1.0, label_map.mpp[1] * 2**level, label_map.mpp[0] * 2**level]


def _channel(label: str, colour: Colour) -> dict[str, Any]:
    return {
        "active": True,
        "coefficient": 1.0,
        "color": "{:02X}{:02X}{:02X}".format(*colour),
        "family": "linear",
        "inverted": False,
        "label": label,
        "window": {"start": 0, "end": 255, "min": 0, "max": 255},
    }


def ome_xml(label_map: LabelMap, name: str, channels: Sequence[str], colours: Sequence[Colour]) -> str:
    """The same as OME-XML: Bio-Formats reads names, colours and the size of a pixel from nowhere else."""
    width, height = label_map.size
    ElementTree.register_namespace("", _OME)
    root = ElementTree.Element(
        f"{{{_OME}}}OME", UUID=f"urn:uuid:{fixed_uuid(label_map, name, label_map.about)}", Creator="lpdseg"
    )
    image = _within(root, "Image", ID="Image:0", Name=name)
    _within(image, "Description").text = label_map.about
    facts = {"ID": "Pixels:0", "DimensionOrder": "XYZCT", "Type": "uint8", "BigEndian": "false"}
    facts |= {"SizeX": str(width), "SizeY": str(height), "SizeZ": "1", "SizeC": str(len(channels)), "SizeT": "1"}
    for axis, mpp in zip("XY", label_map.mpp, strict=True):
        facts |= {f"PhysicalSize{axis}": str(mpp), f"PhysicalSize{axis}Unit": "µm"}
    pixels = _within(image, "Pixels", **facts)
    for number, (label, colour) in enumerate(zip(channels, colours, strict=True)):
        packed = int.from_bytes(bytes([*colour, 255]), signed=True)  # RGBA
        facts = {"ID": f"Channel:0:{number}", "Name": label, "Color": str(packed), "SamplesPerPixel": "1"}
        _within(pixels, "Channel", **facts)
    _within(pixels, "MetadataOnly")
    x, y = (str(value) for value in label_map.corner_um)
    for number in range(len(channels)):
        place = {"TheZ": "0", "TheC": str(number), "TheT": "0"}
        micron = {"PositionXUnit": "µm", "PositionYUnit": "µm"}
        _within(pixels, "Plane", **place, PositionX=x, PositionY=y, **micron)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _within(parent: ElementTree.Element, name: str, **facts: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{_OME}}}{name}", facts)

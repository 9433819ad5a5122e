"""What OME-XML says of the images of a TIFF; read once, however many pages ask."""

import re
from collections.abc import Mapping
from functools import lru_cache
from xml.etree import ElementTree

_MOST_MARKS = 1 << 20
"""Beginnings and ends of elements, and attributes: a stack of 20,000 planes has half as many."""

_MARK = re.compile("[<=]")


@lru_cache(maxsize=1)
def ome_images(xml: str) -> Mapping[tuple[str | None, str | None], list[tuple[str, Mapping[str, str]]]]:
    """By width and height as they are written, the images of that size: the name, or an empty one, and what is
    said of the pixels. Nothing for text that is no XML.

    **Raises:** `ValueError` for text that declares a type of document, whose entities may stand for any amount of
    text, and for more elements and attributes than images have.
    """
    if "<!DOCTYPE" in xml:
        raise ValueError("its OME-XML declares entities, which OME-XML has none of")
    marks = sum(1 for _ in _MARK.finditer(xml))
    if marks > _MOST_MARKS:
        raise ValueError(f"its OME-XML has {marks:,} elements and attributes, where {_MOST_MARKS:,} are the most")
    found: dict[tuple[str | None, str | None], list[tuple[str, Mapping[str, str]]]] = {}
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return found
    for image in root.iterfind("{*}Image"):
        pixels = image.find("{*}Pixels")
        if pixels is not None:
            size = pixels.get("SizeX"), pixels.get("SizeY")
            found.setdefault(size, []).append((image.get("Name", ""), dict(pixels.attrib)))
    return found

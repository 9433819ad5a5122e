"""OME-XML that would keep a parser busy is refused, and is parsed once for all pages."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from lpdseg.slides.ome import ome_images
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import SlideError

IMAGE = (
    '<Image ID="Image:0" Name="scan"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="64" '
    'SizeY="48" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><TiffData/></Pixels></Image>'
)


def draw(path: Path, inside: str = "", before: str = "", pages: int = 0) -> Path:
    xml = f'<?xml version="1.0"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    with tifffile.TiffWriter(path) as tiff:
        pixels = np.full((48, 64, 3), 99, np.uint8)
        tiff.write(pixels, tile=(16, 16), description=f"{xml}{IMAGE}{inside}</OME>", metadata=None)
        for _ in range(pages):
            tiff.write(pixels[:16, :16], tile=(16, 16), metadata=None)
    return path


@pytest.mark.parametrize(
    ("inside", "before", "told"),
    [
        ("<a>&b;</a>", '<!DOCTYPE OME [<!ENTITY b "x">]>', "declares entities"),
        ("<a/>" * 1_100_000, "", "has 1,1.* elements and attributes"),
        ("<a" + "".join(f" a{n}=''" for n in range(1_100_000)) + "/>", "", "has 1,1.* elements and attributes"),
    ],
    ids=["entities", "elements", "attributes"],
)
def test_xml_that_grows_is_refused(tmp_path: Path, inside: str, before: str, told: str) -> None:
    path = draw(tmp_path / "slide.ome.tif", inside, before)
    with pytest.raises(SlideError, match=told) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


def test_xml_is_parsed_once_for_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, parsed = draw(tmp_path / "slide.ome.tif", pages=20), []
    parse = ElementTree.fromstring
    monkeypatch.setattr(ElementTree, "fromstring", lambda xml: parsed.append(xml) or parse(xml))
    ome_images.cache_clear()
    slide = open_slide(path)
    assert slide.facts.mpp is not None and slide.facts.mpp.x == 0.5
    slide.close()
    assert len(parsed) == 1

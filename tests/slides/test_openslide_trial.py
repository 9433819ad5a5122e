"""Files at which OpenSlide ends the process, fills the memory or never comes back are refused."""

import re
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from drawn_slides import scene, write_svs
from drawn_tiffs import Drawn

from lpdseg.slides.openslide_slide import open_with_openslide
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import SlideError

pytest.importorskip("openslide", reason="the extra `slides` is not installed")
tifffile = pytest.importorskip("tifffile", reason="the extra `slides` is not installed")
imagecodecs = pytest.importorskip("imagecodecs", reason="the extra `slides` is not installed")


def element(group: int, tag: int, kind: bytes, value: bytes) -> bytes:
    if kind in (b"OB", b"SQ"):
        return struct.pack("<HH2sHI", group, tag, kind, 0, len(value)) + value
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, tag, kind, len(value)) + value


def dicom(path: Path, nested: int) -> Path:
    """A DICOM of sequences within each other."""
    told = element(2, 1, b"OB", b"\0\1") + element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.77.1.6")
    told += element(2, 3, b"UI", b"1.2") + element(2, 0x10, b"UI", b"1.2.840.10008.1.2.4.50")
    begun = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    kind = element(8, 8, b"CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE") + element(8, 0x16, b"UI", b"1.2.840.10008")
    length = element(2, 0, b"UL", struct.pack("<I", len(told)))
    path.write_bytes(bytes(128) + b"DICM" + length + told + kind + begun * nested)
    return path


def ventana(path: Path, tiles: int) -> Path:
    """A BIF that claims a number of tiles to each side."""
    scan = b"<iScan ScanRes='0.5' Magnification='20'/>"
    told = (
        f"<EncodeInfo Ver='2'><SlideInfo>{scan.decode()}</SlideInfo><SlideStitchInfo><ImageInfo AOIScanned='1' "
        f"AOIIndex='0' NumRows='{tiles}' NumCols='{tiles}' Width='64' Height='64' Pos-X='0' Pos-Y='0'/>"
        "</SlideStitchInfo><AoiOrigin><AOI0 OriginX='0' OriginY='0'/></AoiOrigin></EncodeInfo>"
    ).encode()
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        plain = {"photometric": "rgb", "metadata": None}
        label = np.full((64, 64, 3), 250, np.uint8)
        tiff.write(label, description="Label Image", extratags=[(700, 1, len(scan), scan, True)], **plain)
        own = {"tile": (64, 64), "compression": "deflate", "extratags": [(700, 1, len(told), told, True)]}
        tiff.write(scene(64, 64), description="level=0 mag=20 quality=90", **plain, **own)
    return path


def hamamatsu(path: Path, side: int) -> Path:
    """An NDPI of pieces of 64 pixels, of a size of its own."""
    data = bytearray(imagecodecs.jpeg8_encode(np.zeros((64, 64, 3), np.uint8)))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 0, 0)
    data[(at := data.index(b"\xff\xda")) : at] = b"\xff\xdd\0\4\0\1"
    drawn = Drawn()
    tags = drawn.image(side, bytes(data), 7)
    tags = {code: told for code, told in tags.items() if code not in (322, 323, 324, 325)}
    tags |= {262: (3, 1, 6), 273: tags[258], 278: (4, 1, side), 279: (4, 1, len(data))}
    tags |= {271: (2, 10, drawn.add(b"Hamamatsu\0")), 273: (4, 1, drawn.content.index(b"\xff\xd8"))}
    tags |= {65420: (4, 1, 1), 65421: (11, 1, 0x41A00000)} | dict.fromkeys((65422, 65423, 65424), (9, 1, 0))
    first = drawn.directory(tags)
    drawn.add(bytes(4 + 4 * len(tags)))  # upper halves of where the next one is, and of values
    return drawn.write(path, first)


def endless(path: Path) -> Path:
    """A slide of Sakura's, which is a data base, of a view that has no end."""
    with closing(sqlite3.connect(path)) as base:
        base.execute(
            "create view DataManagerSQLiteConfigXPO as with recursive c(x) as (values(1) union all select x + 1 "
            "from c) select 'u' as TableName from c where x < 0"
        )
    return path


MADE: dict[str, Callable[[Path], Path]] = {
    "nested.svs": lambda path: dicom(path, 1_000_000),
    "tiles.bif": lambda path: ventana(path, 200_000),
    "more.bif": lambda path: ventana(path, 2_000_000_000),
    "sides.ndpi": lambda path: hamamatsu(path, 2**31 - 1),
    "pieces.ndpi": lambda path: hamamatsu(path, 632_000),
    "view.svslide": endless,
    "view.svs": endless,
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such limits")
@pytest.mark.parametrize("name", MADE)
def test_what_would_end_the_process(tmp_path: Path, name: str) -> None:
    path = MADE[name](tmp_path / name)
    with pytest.raises(SlideError, match=f"{re.escape(str(path))} .* cannot open it; copy or export it again"):
        open_slide(path)


def test_a_dicom_by_another_name_is_no_slide(tmp_path: Path) -> None:
    """Slides of many files are not read, nor are those beside it."""
    with pytest.raises(SlideError, match="no slide in spite of its name"):
        open_slide(dicom(tmp_path / "a.svs", 1))


def test_where_nothing_can_be_tried_slides_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_svs(tmp_path / "a.svs", [scene(128, 128)])
    for program in (tmp_path / "none", Path("/bin/false")):
        monkeypatch.setattr(sys, "executable", str(program))
        slide = open_with_openslide(path)
        assert slide is not None
        slide.close()

"""Tiles in formats of images are held against what they claim, before decoders make room for it."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from drawn_tiffs import Drawn
from jaxtyping import UInt8
from PIL import Image

from lpdseg.slides import coded_size
from lpdseg.slides.coded_size import MOST_SAMPLES, check_coded
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import SlideError
from processes import program

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra `slides` is not installed")

FORMATS = {
    "jpeg": 7, "jp2": 34712, "j2k": 33005, "jxl": 50002, "jxl in boxes": 50002, "jxr": 34934, "webp": 50001,
    "png": 34933,
}  # fmt: skip
"""With TIFF's tag Compression."""


def coded(form: str, pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    match form:
        case "jpeg":
            data = imagecodecs.jpeg8_encode(pixels, level=100, subsampling="444")
        case "jp2" | "j2k":
            data = imagecodecs.jpeg2k_encode(pixels, codecformat=form.upper(), level=0)
        case "jxl" | "jxl in boxes":
            data = imagecodecs.jpegxl_encode(pixels, effort=1, lossless=True, usecontainer=form != "jxl")
        case "jxr":
            data = imagecodecs.jpegxr_encode(pixels)
        case "webp":
            data = imagecodecs.webp_encode(pixels, lossless=True)
        case _:
            data = imagecodecs.png_encode(pixels)
    return bytes(data)


def claiming(form: str, side: int) -> bytes:
    """An image of 64 x 64 pixels that claims `side` x `side`, as whose codestream has it."""
    data = bytearray(coded(form, np.zeros((64, 64, 3), np.uint8)))
    match form:
        case "jpeg":
            struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
        case "jp2" | "j2k":
            struct.pack_into(">II", data, data.index(b"\xff\x4f\xff\x51") + 8, side, side)
        case "jxl" | "jxl in boxes":
            at = data.index(b"jxlc") + 4 if form != "jxl" else 0
            bits = 0 | 2 << 1 | (side - 1) << 3 | 1 << 21  # not small; 18 bits of height; as wide as high
            data[at + 2 : at + 6] = struct.pack("<I", bits)
        case "jxr":
            at = data.index(b"WMPHOTO\0") + 12
            assert data[at - 2] & 0x80
            struct.pack_into(">HH", data, at, side - 1, side - 1)
        case "webp":
            struct.pack_into("<I", data, data.index(b"VP8L") + 9, (side - 1) | (side - 1) << 14)
        case _:
            struct.pack_into(">II", data, 16, side, side)
            struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def tiff(path: Path, form: str, data: bytes, tile: int = 64) -> Path:
    drawn = Drawn()
    tags = drawn.image(tile, data, FORMATS[form]) | {322: (4, 1, tile), 323: (4, 1, tile)}
    return drawn.write(path, drawn.directory(tags | ({262: (3, 1, 6)} if form == "jpeg" else {})))


@pytest.mark.parametrize("form", FORMATS)
def test_tiles_of_their_size_are_read(tmp_path: Path, form: str) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 200
    slide = open_slide(tiff(tmp_path / "a.tif", form, coded(form, pixels)))
    assert np.abs(slide.read(0, 0, 0, 64, 64).astype(int) - pixels).max() <= 3
    slide.close()


@pytest.mark.parametrize("form", FORMATS)
def test_tiles_that_claim_more_are_refused_before_they_are_decoded(tmp_path: Path, form: str) -> None:
    side = 9_000
    slide = open_slide(tiff(tmp_path / "a.tif", form, claiming(form, side)))
    with pytest.raises(SlideError, match=f"a tile or strip of {side * side:,} pixels"):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


@pytest.mark.parametrize("shape", [(64, 64), (40, 48), (300, 517), (512, 256), (1080, 1920)])
@pytest.mark.parametrize("form", FORMATS)
def test_the_claim_is_read_as_it_was_written(
    form: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coded(form, np.zeros((*shape, 3), np.uint8))
    monkeypatch.setattr(coded_size, "MOST_SAMPLES", shape[0] * shape[1] * 3)
    check_coded(data)
    monkeypatch.setattr(coded_size, "MOST_SAMPLES", shape[0] * shape[1] * 3 - 1)
    with pytest.raises(ValueError, match=f"{shape[0] * shape[1]:,} pixels"):
        check_coded(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"\xff\xd8\xff\xd9", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\1free", b"II\xbc\1"],
    ids=repr,
)
def test_what_says_nothing_of_its_size_is_not_decoded(tmp_path: Path, data: bytes) -> None:
    slide = open_slide(tiff(tmp_path / "a.tif", "jxl", data or b"\0"))
    with pytest.raises(SlideError, match="cannot be read at level 0"):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


def test_a_jpeg_of_many_scans(tmp_path: Path) -> None:
    held = io.BytesIO()
    Image.new("RGB", (64, 64)).save(held, "JPEG", progressive=True)
    last = held.getvalue().rindex(b"\xff\xda")
    data = held.getvalue()[:-2] + held.getvalue()[last:-2] * 200 + b"\xff\xd9"
    slide = open_slide(tiff(tmp_path / "a.tif", "jpeg", data))
    with pytest.raises(SlideError, match=r"a JPEG of 2.. scans"):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


@pytest.mark.parametrize(
    ("shape", "words"), [((30, 64, 64, 3), "or that moves"), ((64, 64, 4), "1 further channels")]
)
def test_a_jpeg_xl_of_more_than_one_picture(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    data = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), effort=1, lossless=True, photometric="rgb")
    slide = open_slide(tiff(tmp_path / "a.tif", "jxl", bytes(data)))
    with pytest.raises(SlideError, match=words):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


@pytest.mark.parametrize("compression", [33003, 34887, 48124, 50013, 65000])
def test_compressions_that_say_nothing_in_time_are_refused(tmp_path: Path, compression: int) -> None:
    drawn = Drawn()
    path = drawn.write(tmp_path / "a.tif", drawn.directory(drawn.image(64, b"\0" * 9, compression)))
    with pytest.raises(SlideError, match=r"is compressed as .*, which cannot be read; save it with"):
        open_slide(path)


_MEASURED = """
import resource, sys, time
from pathlib import Path
from lpdseg.slides.readers import open_slide

for path in map(Path, sys.argv[1:]):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    slide = open_slide(path)
    slide.read(0, 0, 0, 64, 64)
    slide.close()
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Seconds of the processor and KiB above what was there before, for the last of some slides."""


def measured(*paths: Path) -> tuple[float, float]:
    with program([sys.executable, "-c", _MEASURED, *map(str, paths)], stdout=subprocess.PIPE, text=True) as child:
        seconds, kilobytes = child.communicate()[0].split()
    return float(seconds), float(kilobytes) / 2**20


def test_the_largest_tile_that_is_taken_costs_little(tmp_path: Path) -> None:
    side = int((MOST_SAMPLES / 3) ** 0.5)
    small = tiff(tmp_path / "small.tif", "jp2", coded("jp2", np.zeros((64, 64, 3), np.uint8)))
    pixels = np.zeros((side, side, 3), np.uint8)
    seconds, gigabytes = measured(small, tiff(tmp_path / "a.tif", "jp2", coded("jp2", pixels), side))
    assert seconds < 5 and gigabytes < 0.5
    with pytest.raises(SlideError, match=f"has tiles of {side + 1} x {side + 1} pixels, too large"):
        open_slide(tiff(tmp_path / "b.tif", "jp2", claiming("jp2", side + 1), side + 1))


def sparse(path: Path, across: int, *, there: bool) -> Path:
    """Two levels of tiles of 16 x 16 pixels, of which none is in the file; of the second all may be."""
    drawn, found = Drawn(), []
    for tiles, reduced in ((across, 0), (across // 2, 1)):
        tags = drawn.image(16 * tiles, zlib.compress(bytes(16 * 16 * 3)))
        place, size = tags[324][2], tags[325][2]
        held = (place, size) if there and reduced else (0, 0)
        places, sizes = (drawn.add(struct.pack("<I", value) * tiles**2) for value in held)
        tags |= {322: (3, 1, 16), 323: (3, 1, 16), 324: (4, tiles**2, places), 325: (4, tiles**2, sizes)}
        found.append(drawn.directory(tags | {254: (4, 1, reduced)}))
    drawn.follow(*found)
    return drawn.write(path, found[0])


@pytest.mark.parametrize("there", [False, True])
def test_a_million_tiles_that_are_not_there(tmp_path: Path, *, there: bool) -> None:
    seconds, gigabytes = measured(
        sparse(tmp_path / "a.tif", 4, there=True), sparse(tmp_path / "b.tif", 1200, there=there)
    )
    assert seconds < 5 and gigabytes < 1


@pytest.mark.parametrize(
    ("image", "tile", "told"), [(4000, 16, "pieces"), (250, 1, "pieces"), (64, 0, "no pieces")]
)
def test_a_jpeg_2000_of_many_pieces(image: int, tile: int, told: str) -> None:
    """Its decoder makes 5 KB of room for each piece and channel, of which a few hundred bytes may claim 65,535."""
    data = bytearray(coded("j2k", np.zeros((64, 64, 3), np.uint8)))
    at = data.index(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">8I", data, at, image, image, 0, 0, tile, tile, 0, 0)
    with pytest.raises(ValueError, match=told):
        check_coded(bytes(data))


def styled(image: int, *, levels: int, block: int, precinct: int | None, component: bool = False) -> bytes:
    """A JPEG 2000 of no pixels, as a few bytes claim it: code-blocks of 4 << block, precincts of 1 << precinct."""

    def segment(mark: int, content: bytes) -> bytes:
        return struct.pack(">HH", mark, len(content) + 2) + content

    def style(block: int, precinct: int | None) -> bytes:
        precincts = b"" if precinct is None else bytes([precinct * 17] * (levels + 1))
        return bytes([levels, block, block, 0, 1]) + precincts

    told = (4, None) if component else (block, precinct)
    held = segment(0xFF51, struct.pack(">H8IH", 0, image, image, 0, 0, image, image, 0, 0, 3) + b"\7\1\1" * 3)
    held += segment(0xFF52, struct.pack(">BBHB", told[1] is not None, 0, 1, 1) + style(*told))
    held += segment(0xFF53, bytes([1, precinct is not None]) + style(block, precinct)) if component else b""
    held += segment(0xFF5C, b"\x40" + b"\x40" * (3 * levels + 1))
    return b"\xff\x4f" + held + bytes.fromhex("ff90000a00000000000e0001ff93ffd9")


@pytest.mark.parametrize("component", [False, True])
@pytest.mark.parametrize(("levels", "block", "precinct"), [(0, 0, None), (5, 0, None), (0, 4, 1), (5, 4, 1)])
def test_a_jpeg_2000_of_many_blocks(
    tmp_path: Path, levels: int, block: int, precinct: int | None, *, component: bool
) -> None:
    """Its decoder made 9 GiB of room for 88 bytes."""
    data = styled(4_720, levels=levels, block=block, precinct=precinct, component=component)
    with pytest.raises(ValueError, match=r"a JPEG 2000 of [\d,]+ blocks"):
        check_coded(data)
    slide = open_slide(tiff(tmp_path / "a.tif", "jp2", data, 4_720))
    with pytest.raises(SlideError, match="blocks"):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


def test_jpeg_2000s_of_usual_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    check_coded(styled(4_720, levels=5, block=4, precinct=None))
    check_coded(styled(4_720, levels=5, block=3, precinct=8))
    check_coded(styled(256, levels=5, block=0, precinct=1))
    monkeypatch.setattr(coded_size, "_MOST_BLOCKS", 3 * (17 + 3 * 17) - 1)
    with pytest.raises(ValueError, match="a JPEG 2000 of 204 blocks"):
        check_coded(styled(512, levels=1, block=4, precinct=None))

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpdseg.data import patches
from lpdseg.data.patches import (
    ImageHeader,
    ImageModeError,
    MaskValueError,
    read_header,
    read_image,
    read_mask,
)
from lpdseg.errors import DataError
from lpdseg.tissue import IGNORE, TissueClasses

CLASSES = TissueClasses(("A", "B"), indices=(3, 7), background=0)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


def png(bits: int, colour: int, row: bytes) -> bytes:
    """A PNG of 2 x 2 pixels with the bit depths that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 2, bits, colour, 0, 0, 0)
    data = zlib.compress((b"\0" + row) * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.bmp", "a.BMP"])
def test_pixels_come_back_as_they_were_and_writable(tmp_path: Path, name: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image, PIXELS)
    assert image.flags.writeable
    assert read_header(tmp_path / name) == ImageHeader((5, 4), "RGB")


def test_jpeg_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (9, 6), (200, 100, 150)).save(tmp_path / "a.jpg", quality=95)
    assert abs(read_image(tmp_path / "a.jpg").mean(axis=(0, 1)) - [200, 100, 150]).max() < 3


def test_webp_and_masks_as_bitmaps_are_read(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), PIXELS)
    Image.fromarray(np.array([[3, 7], [0, 255]], np.uint8)).save(tmp_path / "m.bmp")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.bmp", CLASSES), [[0, 1], [2, IGNORE]])
    bitmap = tmp_path / "deep.bmp"  # 5 bits per channel, which Pillow would stretch to 8
    header = struct.pack("<2sIHHI", b"BM", 62, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 2, 2, 1, 16, 0, 8, *[0] * 4
    )
    bitmap.write_bytes(header + b"\0" * 8)
    with pytest.raises(ImageModeError, match="has mode 15-bit RGB"):
        read_image(bitmap)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGBA", "png"), ("L", "png"), ("P", "png"), ("LA", "png"), ("1", "png"), ("I;16", "png"), ("CMYK", "jpg"),
     ("CMYK", "tif"), ("F", "tif")],
)  # fmt: skip
def test_other_modes_are_refused_by_name(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, (4, 5)).save(path)
    with pytest.raises(ImageModeError, match=rf"a\.{suffix} has mode .*; convert it to 8-bit RGB"):
        read_image(path)


def test_depths_that_pillow_hides_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    deep.write_bytes(png(16, 2, b"\1\2" * 6))
    with pytest.raises(ImageModeError, match="has mode 16-bit RGB"):
        read_image(deep)
    shallow = tmp_path / "shallow.png"
    shallow.write_bytes(png(4, 0, b"\x0f"))  # Pillow stretches 15 to 255, which would mean `IGNORE`
    with pytest.raises(ImageModeError, match="has mode 4-bit L; save the mask as 8-bit"):
        read_mask(shallow, CLASSES)


def test_files_that_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    for name, content in [("empty.png", b""), ("text.png", b"hello")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} is no PNG, JPEG, TIFF, BMP or WEBP image"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match=f"^cannot read {tmp_path}: Is a directory; name an image"):
        read_image(tmp_path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(PIXELS)
    for name in ("a.tif", "a.png"):
        page.save(tmp_path / name, save_all=True, append_images=[Image.new("RGB", (4, 5))])
        with pytest.raises(DataError, match="holds several images; save one per file"):
            read_image(tmp_path / name)


def test_a_slide_is_no_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(patches, "MAX_PIXELS", 19)
    with pytest.raises(DataError, match=r"4 x 5 pixels; cut it into patches"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(DataError, match="too many pixels for a patch"):
        read_image(tmp_path / "a.png")


def encoded(name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.tile(PIXELS, (8, 8, 1))).save(file, name)
    return file.getvalue()


ENCODED = {name: encoded(name) for name in ("PNG", "JPEG", "TIFF")}


@pytest.mark.parametrize("name", ENCODED)
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(ENCODED[name][: len(ENCODED[name]) * 2 // 3])
    with pytest.raises(DataError):
        read_image(path)


@given(st.sampled_from(list(ENCODED)), st.data())
def test_damaged_bytes_give_an_image_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(ENCODED[name])
    for place in data.draw(st.lists(st.integers(0, min(200, len(content) - 1)), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a"
    path.write_bytes(content)
    try:
        assert read_image(path).ndim == 3
    except DataError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_masks_come_in_the_internal_numbering(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    image = Image.fromarray(np.array([[3, 7, 0], [255, 3, 3]], np.uint8))
    if mode == "P":
        image.putpalette(CLASSES.palette().tobytes())
    image.save(path)
    mask = read_mask(path, CLASSES, (2, 3))
    assert mask.tolist() == [[0, 1, 2], [IGNORE, 0, 0]]
    assert read_header(path) == ImageHeader((2, 3), mode)


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    Image.fromarray(np.array([[3, 9], [1, 9]], np.uint8)).save(path)
    with pytest.raises(MaskValueError, match=r"m\.png holds the values 1, 9; the classes use 0, 3, 7, and 255"):
        read_mask(path, CLASSES)
    with pytest.raises(DataError, match=r"m\.png is 2 x 2 pixels, but its image is 3 x 2"):
        read_mask(path, CLASSES, (2, 3))
    Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(ImageModeError, match="has mode RGB; save the mask as 8-bit palette or grey"):
        read_mask(path, CLASSES)
    Image.new("L", (2, 2)).save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match="is no PNG, TIFF or BMP image"):
        read_mask(tmp_path / "m.jpg", CLASSES)


@pytest.mark.parametrize(("turned", "fits"), [(1, True), (6, False)])
def test_an_image_that_is_turned_for_show_only_is_refused(tmp_path: Path, turned: int, fits: bool) -> None:
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.new("RGB", (4, 2)).save(path, exif=exif)
    if fits:
        assert read_image(path).shape == (2, 4, 3)
    else:
        with pytest.raises(DataError, match=r"x\.jpg is to be turned for show .*save it as it is seen"):
            read_image(path)

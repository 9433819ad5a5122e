"""What a JPEG XL claims in all its frames is told by its headers alone."""

import struct

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from lpdseg.slides.jpeg_xl import claimed_samples

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra `slides` is not installed")

BOXED = b"\0\0\0\x0cJXL \r\n\x87\n"


def written(width: int = 517, height: int = 300) -> UInt8[np.ndarray, "height width 3"]:
    """Words on white: encoders keep the letters in a frame of their own."""
    image, random = Image.new("RGB", (width, height), (250, 250, 250)), np.random.default_rng(0)
    for x, y in random.integers(0, (width, height), (40, 2)):
        ImageDraw.Draw(image).text((int(x), int(y)), "lpd seg", fill=(120, 0, 120))
    return np.asarray(image)


def encoded(pixels: np.ndarray, **options: object) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, numthreads=1, **options))


LAYERED = encoded(written(), effort=5, lossless=True)


@pytest.mark.parametrize("distance", [None, 1.0, 8.0, 25.0])
@pytest.mark.parametrize("effort", [1, 3, 7])
@pytest.mark.parametrize("boxes", [False, True])
def test_what_encoders_write_is_understood(effort: int, distance: float | None, boxes: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (70, 130, 3)).astype(np.uint8)
    kind = {"lossless": True} if distance is None else {"lossless": False, "distance": distance}
    assert claimed_samples(encoded(pixels, effort=effort, usecontainer=boxes, **kind)) == pixels.size


def test_each_frame_counts_as_all_of_the_image() -> None:
    assert claimed_samples(LAYERED) == 2 * 517 * 300 * 3


def test_a_codestream_in_parts() -> None:
    boxes = BOXED + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jxl ", 0, b"jxl ")
    for number, (first, last) in enumerate(((0, 20), (20, 90), (90, len(LAYERED)))):
        part = LAYERED[first:last]
        boxes += struct.pack(">I4sI", 12 + len(part), b"jxlp", number | (number == 2) << 31) + part
    assert claimed_samples(boxes) == claimed_samples(LAYERED)
    assert (imagecodecs.jpegxl_decode(boxes) == written()).all()
    long = BOXED + struct.pack(">I4sQ", 1, b"jxlc", 16 + len(LAYERED)) + LAYERED
    assert claimed_samples(long) == claimed_samples(LAYERED)
    whole = struct.pack(">I4s", 8 + len(LAYERED), b"jxlc") + LAYERED
    with pytest.raises(ValueError, match="no codestream in JPEG XL data, or several"):
        claimed_samples(BOXED + whole + whole)
    with pytest.raises(ValueError, match="more than 1,000 boxes"):
        claimed_samples(BOXED + struct.pack(">I4s", 8, b"free") * 2000 + whole)


def test_one_that_is_cut_short_is_told() -> None:
    for end in range(2, len(LAYERED), 7):
        try:
            assert claimed_samples(LAYERED[:end]) == claimed_samples(LAYERED)
        except ValueError as error:
            assert "within a header" in str(error)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((64, 64, 4), "1 further channels"), ((9, 64, 64, 3), "or that moves"), ((9, 64, 64, 4), "or that moves")],
)
def test_channels_and_pictures_that_a_tile_has_no_need_of(shape: tuple[int, ...], words: str) -> None:
    data = encoded(np.zeros(shape, np.uint8), effort=1, lossless=True, photometric="rgb")
    with pytest.raises(ValueError, match=words):
        claimed_samples(data)


class Bits:
    """An image of 64 x 64 pixels whose metadata are the usual ones, and what is put behind them."""

    def __init__(self) -> None:
        self._bits = list[int]()
        self.put((1, 1), (7, 5), (1, 3), (1, 1), (1, 1)).align()

    def put(self, *values: tuple[int, int]) -> "Bits":
        for value, count in values:
            self._bits += [value >> place & 1 for place in range(count)]
        return self

    def align(self) -> "Bits":
        return self.put((0, -len(self._bits) % 8))

    def frame(self, flags: int = 0, side: int | None = None) -> "Bits":
        """A frame that is not the last, and whose one part has no bytes."""
        self.put((0, 1), (0, 2), (1, 1), *(((2, 2), (flags - 17, 8)) if flags else ((0, 2),)))
        self.put((0, 2), (1, 2), (0, 2))  # its upsampling, groups and passes
        crop = () if side is None else ((0, 10), (0, 10), *((3, 2), (side - 18688, 30)) * 2)
        self.put((side is not None, 1), *crop, (0, 2), (0, 1), (0, 2), (0, 1))
        self.put((0, 2), (1, 1), (0, 2))  # its name, filters and extensions
        return self.put((0, 1)).align().put((0, 12)).align()

    def data(self) -> bytes:
        return b"\xff\x0a" + np.packbits(np.array(self._bits, np.uint8), bitorder="little").tobytes()


def test_frames_without_an_end() -> None:
    usual = Bits().put((1, 1))  # the last one
    assert claimed_samples(usual.data()) == 64 * 64 * 3
    for count in (1, 10, 15, 16):
        several = Bits()
        for _ in range(count):
            several.frame()
        data = several.put((1, 1)).data()
        if count < 16:
            assert claimed_samples(data) == (count + 1) * 64 * 64 * 3
        else:
            with pytest.raises(ValueError, match="more than 16 frames"):
                claimed_samples(data)


@pytest.mark.parametrize(
    ("options", "words"), [({"side": 1 << 20}, "1,099,511,627,776 pixels"), ({"flags": 17}, "splines")]
)
def test_frames_that_are_larger_than_their_image_or_not_of_pixels(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        claimed_samples(Bits().frame(**options).data())

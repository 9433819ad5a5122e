"""Files that claim more than a slide has are refused before a library follows them."""

import io
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from drawn_tiffs import Drawn
from PIL import Image

from lpdseg.slides.directories import MOST_DIRECTORIES, check_directories
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import SlideError


@contextmanager
def bounded() -> Iterator[None]:
    """Inside, no more than 5 s of the processor and 1 GiB more memory than before."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


@contextmanager
def refused(path: Path, told: str) -> Iterator[None]:
    with bounded(), pytest.raises(SlideError, match=told) as caught:
        yield
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500 + len(str(path))


@pytest.mark.parametrize("others", [0, 1, 300])
def test_a_circle(tmp_path: Path, others: int) -> None:
    tiff = Drawn()
    tags = tiff.image()
    places = [tiff.directory(tags) for _ in range(others + 1)]
    for place, after in zip(places, [*places[1:], places[0]], strict=True):
        tiff.follow(place, after)
    path = tiff.write(tmp_path / "a.tif", places[0])
    with refused(path, "in a circle"):
        open_slide(path)


def test_a_directory_within_itself(tmp_path: Path) -> None:
    tiff = Drawn()
    tags = tiff.image()
    path = tiff.write(tmp_path / "a.tif", tiff.directory(tags | {330: (13, 1, len(tiff.content))}))
    with refused(path, "in a circle"):
        open_slide(path)


@pytest.mark.parametrize("suffix", [".tif", ".svs", ".scn"])
def test_too_many_pages(tmp_path: Path, suffix: str) -> None:
    tiff = Drawn()
    tags = tiff.image()
    places = [tiff.directory(tags) for _ in range(MOST_DIRECTORIES + 1)]
    for place, after in pairwise(places):
        tiff.follow(place, after)
    path = tiff.write(tmp_path / f"a{suffix}", places[0])
    with refused(path, "more than 20,000 directories"):
        open_slide(path)


def test_too_many_directories_within_one(tmp_path: Path) -> None:
    tiff = Drawn()
    within = tiff.add(struct.pack("<I", tiff.directory(tiff.image())) * 30_000)
    path = tiff.write(tmp_path / "a.tif", tiff.directory(tiff.image() | {330: (4, 30_000, within)}))
    with refused(path, "a directory with 30,000 others"):
        open_slide(path)


@pytest.mark.parametrize(
    ("tag", "kind", "count", "told"), [(324, 4, 100_000, "numbers"), (270, 2, 1 << 18, "bytes")]
)
def test_values_that_all_pages_share(tmp_path: Path, tag: int, kind: int, count: int, told: str) -> None:
    tiff = Drawn()
    tags = tiff.image()
    tags[tag] = (kind, count, tiff.add(bytes(count * (4 if kind == 4 else 1))))
    places = [tiff.directory(tags) for _ in range(100)]
    for place, after in pairwise(places):
        tiff.follow(place, after)
    path = tiff.write(tmp_path / "a.tif", places[0])
    with refused(path, f"tags that hold .* {told}"):
        open_slide(path)


def test_a_stack_of_many_planes_and_a_large_slide_pass(tmp_path: Path) -> None:
    tiff = Drawn()
    tags = tiff.image()
    places = [tiff.directory(tags) for _ in range(64 * 200)]
    for place, after in pairwise(places):
        tiff.follow(place, after)
    check_directories(tiff.write(tmp_path / "stack.tif", places[0]))
    tiff = Drawn()
    tiles = (-(-200_000 // 128)) ** 2
    told = tiff.add(bytes(4 * tiles))
    tags = tiff.image(200_000) | {322: (3, 1, 128), 323: (3, 1, 128), 324: (4, tiles, told), 325: (4, tiles, told)}
    check_directories(tiff.write(tmp_path / "large.tif", tiff.directory(tags)))


@pytest.mark.parametrize("content", [b"II", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"\x89PNG", b""])
def test_what_is_cut_short_or_no_tiff_is_left_to_others(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    check_directories(path)


@pytest.mark.parametrize(("kind", "count"), [(9, 1), (5, 1), (4, 7), (4, 0), (4, 2**31), (0, 1)])
@pytest.mark.parametrize("tag", [256, 257, 278, 322, 323])
def test_a_size_that_is_no_number(tmp_path: Path, tag: int, kind: int, count: int) -> None:
    """Negative ones were opened; several ones were taken for gigabytes."""
    tiff = Drawn()
    place = tiff.add(bytes(64))
    tags = tiff.image() | {tag: (kind, count, place if count == 7 else 2**32 - 128)}
    path = tiff.write(tmp_path / "a.tif", tiff.directory(tags))
    with refused(path, "gives a size of an image"):
        check_directories(path)


def test_a_directory_that_does_not_say_what_follows(tmp_path: Path) -> None:
    """The library that reads pages took its end for another one, for ever."""
    tiff = Drawn()
    first = tiff.directory(tiff.image())
    path = tiff.write(tmp_path / "a.tif", first)
    path.write_bytes(path.read_bytes()[:-4])
    with refused(path, "ends within the directory at byte"):
        open_slide(path)


def test_more_pixels_than_any_slide(tmp_path: Path) -> None:
    tiff = Drawn()
    tiles = (10**6 // 4096 + 1) ** 2
    told = tiff.add(bytes(4 * tiles))
    tags = tiff.image(10**6) | {322: (3, 1, 4096), 323: (3, 1, 4096), 324: (4, tiles, told), 325: (4, tiles, told)}
    path = tiff.write(tmp_path / "a.tif", tiff.directory(tags))
    with refused(path, "claims 1000000 x 1000000 pixels"):
        open_slide(path)


@pytest.mark.parametrize(("form", "compression"), [("JPEG", 7), ("WEBP", 50001)])
def test_a_tile_of_more_pixels_than_it_has_room_for(tmp_path: Path, form: str, compression: int) -> None:
    held = io.BytesIO()
    Image.new("RGB", (64, 64)).save(held, form, lossless=True)
    data = bytearray(held.getvalue())
    if form == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    else:
        start = data.index(b"VP8L") + 9
        data[start : start + 4] = struct.pack("<I", 16_382 | 16_382 << 14)
    tiff = Drawn()
    tags = tiff.image(64, bytes(data), compression) | ({262: (3, 1, 6)} if form == "JPEG" else {})
    path = tiff.write(tmp_path / "a.tif", tiff.directory(tags))
    slide = open_slide(path)
    with refused(path, "pixels"):
        slide.read(0, 0, 0, 64, 64)
    slide.close()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(3, "H2x"), (4, "I")])
def test_a_tile_that_no_reader_could_hold(tmp_path: Path, order: str, kind: int, form: str) -> None:
    """OpenSlide asked for 4 GiB, and ended the process where there were none."""
    sides = (60_000, 2_000) if kind == 3 else (2**24, 64)
    tags = dict.fromkeys((256, 257), (4, struct.pack(order + "I", 64)))
    tags |= {tag: (kind, struct.pack(order + form, side)) for tag, side in zip((322, 323), sides, strict=True)}
    entries = [struct.pack(order + "HHI", tag, kind, 1) + value for tag, (kind, value) in tags.items()]
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    path = tmp_path / "a.svs"
    path.write_bytes(head + struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4))
    with refused(path, f"tiles of {sides[0] * sides[1]:,} pixels, too large"):
        open_slide(path)


@pytest.mark.parametrize("compression", [(3, 1, 33003), (3, 1, 33005), (4, 1, 33005), (3, 3, 0)])
def test_large_tiles_that_openslide_would_decode_as_jpeg_2000(
    tmp_path: Path, compression: tuple[int, int, int]
) -> None:
    """Of 88 bytes it made 9 GiB, by the code-blocks that they claimed."""
    tiff = Drawn()
    told = b"Aperio Image Library v1\0"
    tags = tiff.image(1024) | {322: (4, 1, 1024), 323: (4, 1, 1024), 270: (2, len(told), tiff.add(told))}
    path = tiff.write(tmp_path / "a.svs", tiff.directory(tags | {259: compression}))
    with refused(path, "tiles of 1,048,576 pixels, too large"):
        open_slide(path)


def test_large_tiles_of_jpeg_2000_that_are_looked_at_one_by_one(tmp_path: Path) -> None:
    tiff = Drawn()
    tags = tiff.image(1024, compression=33005) | {322: (4, 1, 1024), 323: (4, 1, 1024)}
    open_slide(tiff.write(tmp_path / "a.tif", tiff.directory(tags))).close()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({322: 0}, "tiles of 0 x 64 pixels"),
        ({323: 8}, "tiles of 64 x 8 pixels"),
        ({257: 1 << 24}, "where 16 of 1,048,576 tiles are"),
        ({325: 2}, "where 2 of 16 tiles are"),
    ],
)
def test_tiles_that_lack_places(tmp_path: Path, changed: dict[int, int], told: str) -> None:
    """OpenSlide divided by zero, and ended the process."""
    tiff = Drawn()
    places = tiff.add(bytes(64))
    sizes = {256: 256, 257: 256, 322: 64, 323: 64, 324: 16, 325: 16} | changed
    tags = {tag: (4, size, places) if tag in (324, 325) else (4, 1, size) for tag, size in sizes.items()}
    path = tiff.write(tmp_path / "a.svs", tiff.directory(tiff.image(256) | tags))
    with refused(path, told):
        open_slide(path)


@pytest.mark.parametrize("side", [322, 323])
def test_tiles_of_one_side(tmp_path: Path, side: int) -> None:
    """Of a thumbnail in strips, OpenSlide divided by it."""
    tiff = Drawn()
    tags = {tag: told for tag, told in tiff.image(64).items() if tag not in (322, 323)} | {side: (3, 1, 1)}
    path = tiff.write(tmp_path / "a.svs", tiff.directory(tags))
    with refused(path, "gives one side of its tiles alone"):
        open_slide(path)

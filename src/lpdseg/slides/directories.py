"""How many directories and tags a TIFF claims to have, which is looked at before any library reads them.

Libraries follow the directories one after another wherever they point, and load the values of each one's tags: a
file of some hundred bytes can keep them busy for ever, one of a MiB fill the memory.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lpdseg.files import open_file
from lpdseg.slides.slide import SlideError

MOST_DIRECTORIES = 20_000
"""Of a file: planes and channels of a stack, or levels; 300 planes of 64 channels are 19,200."""

_MOST_NUMBERS = 1 << 23
"""That all tags hold: a slide of 200,000 x 200,000 pixels in tiles of 128 has 6.5 million with its levels."""

_MOST_BYTES = 1 << 24
"""Of texts and such that all tags hold: descriptions, profiles, OME-XML."""

_MOST_TAGS = 4096
"""Of a directory; libraries read none that has more."""

_SUB_IFDS = 330
_SIZES = (256, 257, 278, 322, 323)
"""Width and length of an image, of its strips and tiles: each one number without a sign."""
_IMAGE = {256, 257}
_TILE = (322, 323)
_TILES = (324, 325)
"""Where each is, and of how many bytes."""
_MOST_OF_TILE = 1 << 26
"""Pixels of a tile, which readers hold in four bytes each."""
_COMPRESSION = 259
_JPEG_2000 = (33003, 33005)
"""Aperio's, which OpenSlide decodes without a look at what its header claims."""
MOST_OF_JPEG_2000 = 1 << 18
"""Pixels of such a tile: at worst each takes three times 550 bytes. Aperio's have 65,536 at most."""
_LEAST_OF_TILE = 16
"""Pixels along a tile (TIFF 6.0, section 15)."""

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Of a value of each type."""
_TEXT = (1, 2, 6, 7)
_UNREAD = 37724
"""Layers of Photoshop, which no reader of slides loads."""


def check_directories(path: Path, most_of_jpeg_2000: int = _MOST_OF_TILE) -> None:
    """Refuses a TIFF whose directories point in a circle, are too many, claim more values than a slide has or sizes
    that are none, or do not say whether another follows.

    Other files, and directories that are cut short or lie outside of the file, are left to those that read them.

    **Arguments:**

    - `most_of_jpeg_2000`: pixels of a tile in Aperio's JPEG 2000.

    **Raises:** `SlideError`; `OSError` where the file cannot be read.
    """
    with open_file(path) as file:
        form = _form(file.read(8), ndpi=path.suffix.lower() == ".ndpi")
        if form is None:
            return
        size = file.seek(0, 2)
        file.seek(form.first)
        waiting, seen = [(form.next_of(file), True)], set[int]()
        numbers = texts = 0
        while waiting:
            offset, chained = waiting.pop()
            if not 0 < offset < size:
                continue
            if offset in seen:
                raise SlideError(
                    f"{path} has directories that point in a circle, to byte {offset} again; export it again"
                )
            seen.add(offset)
            if len(seen) > MOST_DIRECTORIES:
                raise SlideError(
                    f"{path} has more than {MOST_DIRECTORIES:,} directories, as no slide has; save one RGB image"
                )
            found = form.tags(file, offset)
            if found is None:
                continue
            tags, after = found
            if after is None:  # tifffile would take this directory for the next one, for ever
                raise SlideError(f"{path} ends within the directory at byte {offset}; copy it again")
            if chained:
                waiting.append((after, True))
            sides, held, jpeg_2000 = dict[int, int](), list[int](), False
            for code, kind, count, place in tags.tolist():
                if code in _SIZES and (count != 1 or kind not in (1, 3, 4, 16)):
                    raise SlideError(
                        f"{path} gives a size of an image (tag {code}) as {count:,} values of type {kind}, not as "
                        "one whole number; export it again"
                    )
                if (
                    code == _COMPRESSION
                ):  # libraries take such as they are not meant to be, and of several the first
                    jpeg_2000 |= count != 1 or kind not in _BYTES or form.value(kind, place) in _JPEG_2000
                if code in _SIZES:
                    sides[code] = form.value(kind, place)
                held += [count] if code in _TILES else []
                length = count * _BYTES.get(kind, 0)
                if code == _SUB_IFDS:
                    if count > MOST_DIRECTORIES:
                        raise SlideError(f"{path} has a directory with {count:,} others within it; export it again")
                    waiting += [(one, False) for one in form.offsets(file, kind, count, place, size)]
                if length <= form.slot or place + length > size or code == _UNREAD:
                    continue
                numbers, texts = numbers + count * (kind not in _TEXT), texts + length * (kind in _TEXT)
                if numbers > _MOST_NUMBERS or texts > _MOST_BYTES:
                    much = f"{numbers:,} numbers" if numbers > _MOST_NUMBERS else f"{texts:,} bytes of text"
                    raise SlideError(f"{path} has tags that hold {much}, as no slide has; export it again")
            _check_tiles(path, sides, held, most_of_jpeg_2000 if jpeg_2000 else _MOST_OF_TILE)


def _check_tiles(path: Path, sides: Mapping[int, int], held: Sequence[int], most: int) -> None:
    """Of one directory; `held` is of how many tiles it says the place, and the length, `most` pixels of one.

    OpenSlide makes room for a tile, and divides by zero where it is not said of all: both end the process.
    """
    across, down = (sides.get(code) for code in _TILE)
    if across is None and down is None:
        return
    if across is None or down is None:
        raise SlideError(f"{path} gives one side of its tiles alone, not width and length; export it again")
    if across * down > most:
        raise SlideError(
            f"{path} has tiles of {across * down:,} pixels, too large to read in parts; save it as a tiled TIFF"
        )
    if min(across, down) < _LEAST_OF_TILE:
        raise SlideError(
            f"{path} has tiles of {across} x {down} pixels, and TIFF wants multiples of 16; export it again"
        )
    if held and _IMAGE.issubset(sides):
        width, height = (sides[code] for code in sorted(_IMAGE))
        if (tiles := -(-width // across) * -(-height // down)) > min(held):
            raise SlideError(f"{path} says where {min(held):,} of {tiles:,} tiles are; copy or export it again")


class _Form:
    """How a kind of TIFF writes numbers: classic, BigTIFF, and NDPI, whose directories have 64-bit offsets."""

    def __init__(self, order: str, big: bool, ndpi: bool) -> None:
        self._order = order
        self._little = order == "<"
        self.first = 8 if big else 4
        self.slot = 8 if big else 4
        self._count = order + ("Q" if big else "H")
        self._next = order + ("Q" if big or ndpi else "I")
        number = order + ("u8" if big else "u4")
        self._tag = np.dtype([("code", order + "u2"), ("kind", order + "u2"), ("count", number), ("place", number)])

    def next_of(self, file: BinaryIO) -> int:
        """The offset that stands where the file is; 0 where it ends."""
        return self._number(file, self._next) or 0

    def tags(self, file: BinaryIO, offset: int) -> tuple[np.ndarray, int | None] | None:
        """The entries of a directory, and where the next one is, which may be cut off; None where entries are cut
        short, or it is no directory."""
        file.seek(offset)
        count = self._number(file, self._count)
        if count is None or count > _MOST_TAGS:
            return None
        held = file.read(count * self._tag.itemsize)
        if len(held) < count * self._tag.itemsize:
            return None
        return np.frombuffer(held, self._tag), self._number(file, self._next)

    def value(self, kind: int, place: int) -> int:
        """Of a tag of one number, which stands where that of others says their place."""
        unused = 8 * max(self.slot - _BYTES[kind], 0)
        return place & ((1 << 8 * self.slot - unused) - 1) if self._little else place >> unused

    def offsets(self, file: BinaryIO, kind: int, count: int, place: int, size: int) -> list[int]:
        """The values of a tag of offsets; none where they lie outside of the file."""
        width = _BYTES.get(kind, 0)
        if width not in (4, 8) or not count:
            return []
        if count * width <= self.slot:
            return [place]
        if place + count * width > size:
            return []
        file.seek(place)
        found: list[int] = np.frombuffer(file.read(count * width), f"{self._order}u{width}").tolist()
        return found

    def _number(self, file: BinaryIO, form: str) -> int | None:
        held = file.read(struct.calcsize(form))
        return None if len(held) < struct.calcsize(form) else int(struct.unpack(form, held)[0])


def _form(start: bytes, *, ndpi: bool) -> _Form | None:
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    kind = 0 if order is None or len(start) < 8 else struct.unpack(order + "H", start[2:4])[0]
    return _Form(order, kind == 43, ndpi) if order is not None else None

"""How many samples a JPEG XL claims in all its frames, by the headers of each (ISO/IEC 18181-1, C and E).

A tile has one frame, or a few that it is put together from. What a slide's tile has no need of (previews, further
channels, profiles, animations, splines) is refused, for it would have to be decoded to know what follows.
"""

import struct

_BARE = b"\xff\x0a"
_BOXED = b"\0\0\0\x0cJXL \r\n\x87\n"
STARTS = (_BARE, _BOXED)

_CHANNELS = 3
_MOST_FRAMES = 16
"""Four that others refer to, four of lower frequencies, and some more."""
_MOST_BOXES = 1000
_MOST_PIXELS = 1 << 25
"""Of a frame or an image beyond which no more of it is looked at."""

_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by which the width may be given."""

_Choice = tuple[int, int]
"""Bits that follow, and what is added to their value."""
_SIDES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_PLACE = ((19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21))
_CROP = ((8, 0), (11, 256), (14, 2304), (30, 18688))
_SECTION = ((10, 0), (14, 1024), (22, 17408), (30, 4211712))
_UP = ((0, 1), (0, 2), (0, 4), (0, 8))
_NUMBERED = ((0, 1), (0, 2), (0, 3), (0, 4))

_REGULAR, _LOW, _REFERENCE, _SKIPPED = range(4)
"""Types of frames."""
_SPLINES, _USES_LOW = 0x10, 0x20
_XYB, _GREY, _CUSTOM = 2, 1, 2


def claimed_samples(data: bytes) -> int:
    """The sum over all frames, each of which is put on the whole image.

    **Raises:** `ValueError` for what is refused or cut short; `struct.error` for a box that is.
    """
    stream = _Bits(_codestream(data))
    stream.place = 8 * len(_BARE)
    width, height = _size(stream)
    if width * height > _MOST_PIXELS:
        return width * height * _CHANNELS
    xyb = _metadata(stream)
    if not stream.flag():
        raise ValueError("a JPEG XL with transforms of its own")
    samples = 0
    for _ in range(_MOST_FRAMES):
        stream.align()
        frame = _Frame(stream, width, height, xyb)
        samples += _CHANNELS * max(width * height, frame.width * frame.height)
        if frame.last:
            return samples
        stream.place += 8 * frame.bytes
    raise ValueError(f"a JPEG XL of more than {_MOST_FRAMES} frames")


class _Bits:
    """Reads bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def take(self, count: int) -> int:
        first = self.place >> 3
        value = int.from_bytes(self._data[first : first + 9], "little") >> (self.place & 7)
        self.place += count
        if self.place > 8 * len(self._data):
            raise ValueError("JPEG XL data that end within a header")
        return value & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.take(1))

    def one_of(self, choices: tuple[_Choice, ...]) -> int:
        bits, more = choices[self.take(2)]
        return self.take(bits) + more

    def long(self) -> int:
        match self.take(2):
            case 0:
                return 0
            case 1:
                return 1 + self.take(4)
            case 2:
                return 17 + self.take(8)
        value, shift = self.take(12), 12
        while self.flag():
            value |= self.take(4 if shift == 60 else 8) << shift
            if shift == 60:
                break
            shift += 8
        return value

    def align(self) -> None:
        self.place = -(-self.place // 8) * 8

    def no_extensions(self) -> None:
        if self.long():
            raise ValueError("a JPEG XL with extensions")


def _codestream(data: bytes) -> bytes:
    """What is decoded of a file: all of it, or what lies in the boxes for it."""
    if data.startswith(_BARE):
        return data
    at, parts, kinds = len(_BOXED), list[bytes](), set[bytes]()
    for _ in range(_MOST_BOXES):
        if at >= len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = len(data) if length == 0 else at + length
        if end < at + head:
            raise ValueError("no codestream in JPEG XL data")
        if kind in (b"jxlc", b"jxlp"):
            kinds.add(kind)
            parts.append(data[at + head + (4 if kind == b"jxlp" else 0) : end])
        at = end
    else:
        raise ValueError(f"a JPEG XL of more than {_MOST_BOXES:,} boxes")
    found = b"".join(parts)
    if len(kinds) > 1 or (b"jxlc" in kinds and len(parts) > 1) or not found.startswith(_BARE):
        raise ValueError("no codestream in JPEG XL data, or several")
    return found


def _size(stream: _Bits) -> tuple[int, int]:
    """(W, H)."""
    small = stream.flag()

    def side() -> int:
        return 8 * (stream.take(5) + 1) if small else stream.one_of(_SIDES)

    height = side()
    ratio = stream.take(3)
    return height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1] if ratio else side(), height


def _metadata(stream: _Bits) -> bool:
    """Goes over what is said of the whole image; whether its colours are XYB."""
    if stream.flag():
        return True
    more = stream.flag()
    if more:
        stream.take(3)  # how it is turned
        if stream.flag():
            _size(stream)
        if stream.flag() or stream.flag():
            raise ValueError("a JPEG XL with a preview, or that moves")
    if stream.flag():
        stream.one_of(((0, 32), (0, 16), (0, 24), (6, 1)))
        stream.take(4)
    else:
        stream.one_of(((0, 8), (0, 10), (0, 12), (6, 1)))
    stream.flag()
    if channels := stream.one_of(((0, 0), (0, 1), (4, 2), (12, 1))):
        raise ValueError(f"a JPEG XL with {channels:,} further channels")
    xyb = stream.flag()
    _colours(stream)
    if more and not stream.flag():
        stream.take(16 + 16 + 1 + 16)
    stream.no_extensions()
    return xyb


def _colours(stream: _Bits) -> None:
    if stream.flag():
        return
    profile, space = stream.flag(), stream.one_of(_ENUM)
    if profile:
        raise ValueError("a JPEG XL with a profile of its own")
    if space != _XYB:
        for places in (1, 3) if space != _GREY else (1,):
            if stream.one_of(_ENUM) == _CUSTOM:
                for _ in range(2 * places):
                    stream.one_of(_PLACE)
        if stream.flag():
            stream.take(24)
        else:
            stream.one_of(_ENUM)
    stream.one_of(_ENUM)


class _Frame:
    """A frame's header: its size, how many bytes follow, and whether it is the last."""

    def __init__(self, stream: _Bits, width: int, height: int, xyb: bool) -> None:
        self._stream = stream
        self.width, self.height, self.last = width, height, True
        up, passes, group, low = 1, 1, 256, 0
        if not stream.flag():
            kind, modular, flags = stream.take(2), stream.flag(), stream.long()
            if flags & _SPLINES:
                raise ValueError("a JPEG XL with splines")
            ycbcr = not xyb and stream.flag()
            if not flags & _USES_LOW:
                stream.take(6 if ycbcr else 0)
                up = stream.one_of(_UP)
            if modular:
                group = 128 << stream.take(2)
            else:
                stream.take(6 if xyb else 0)
            if kind != _REFERENCE:
                passes = self._passes()
            whole, blend = True, 0
            if kind == _LOW:
                low = stream.one_of(_NUMBERED)
            else:
                whole = self._cropped(kind)
            self.last = False
            if kind in (_REGULAR, _SKIPPED):
                blend = stream.one_of(((0, 0), (0, 1), (0, 2), (2, 3)))
                stream.take(2 if blend or not whole else 0)
                self.last = stream.flag()
            if kind != _LOW and not self.last:
                stream.take(2)
                stream.take(1 if kind == _REFERENCE or (whole and not blend) else 0)
            for _ in range(stream.one_of(((0, 0), (4, 0), (5, 16), (10, 48)))):
                stream.take(8)
            self._filters(modular)
            stream.no_extensions()
        if self.width * self.height > _MOST_PIXELS:
            raise ValueError(f"a tile or strip of {self.width * self.height:,} pixels")
        self.bytes = 0 if self.last else self._sections(up << 3 * low, passes, group)

    def _sections(self, down: int, passes: int, group: int) -> int:
        """Bytes of all parts of the frame, as its table of contents has them."""
        if self._stream.flag():
            raise ValueError("a JPEG XL of several frames with parts in an order of their own")
        self._stream.align()
        across, along = -(-self.width // down), -(-self.height // down)
        groups, wide = (-(-across // side) * -(-along // side) for side in (group, 8 * group))
        count = 1 if groups == passes == 1 else 2 + wide + groups * passes
        found = sum(self._stream.one_of(_SECTION) for _ in range(count))
        self._stream.align()
        return found

    def _passes(self) -> int:
        stream = self._stream
        count = stream.one_of(((0, 1), (0, 2), (0, 3), (3, 4)))
        if count > 1:
            smaller = stream.one_of(((0, 0), (0, 1), (0, 2), (1, 3)))
            stream.take(2 * (count - 1) + 2 * smaller)
            for _ in range(smaller):
                stream.one_of(((0, 0), (0, 1), (0, 2), (3, 0)))
        return count

    def _cropped(self, kind: int) -> bool:
        """Takes the frame's own size, where it has one; whether it covers the whole image."""
        stream = self._stream
        if not stream.flag():
            return True
        left, top = (0, 0) if kind == _REFERENCE else (stream.one_of(_CROP), stream.one_of(_CROP))
        image = self.width, self.height
        self.width, self.height = stream.one_of(_CROP), stream.one_of(_CROP)
        left, top = (value >> 1 ^ -(value & 1) for value in (left, top))
        reached = self.width + left >= image[0] and self.height + top >= image[1]
        return kind == _REFERENCE or (left <= 0 and top <= 0 and reached)

    def _filters(self, modular: bool) -> None:
        stream = self._stream
        if stream.flag():
            return
        if stream.flag() and stream.flag():
            self._numbers(6)
        if stream.take(2):
            self._numbers(8 if not modular and stream.flag() else 0)
            self._numbers(5 if stream.flag() else 0)
            self._numbers((3 if modular else 4) if stream.flag() else 0)
            self._numbers(1 if modular else 0)
        stream.no_extensions()

    def _numbers(self, count: int) -> None:
        for _ in range(count):
            self._stream.take(16)

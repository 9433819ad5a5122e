"""TIFFs byte by byte, with directories that no library would write."""

import struct
import zlib
from pathlib import Path


class Drawn:
    """A little-endian classic TIFF that grows at its end."""

    def __init__(self) -> None:
        self.content = bytearray(b"II*\0\0\0\0\0")

    def add(self, data: bytes) -> int:
        """Appends bytes; gives where they are."""
        self.content += bytes(len(self.content) % 2)
        self.content += data
        return len(self.content) - len(data)

    def directory(self, tags: dict[int, tuple[int, int, int]]) -> int:
        """Appends a directory with (type, count, value or its place) by tag; none follows it."""
        entries = b"".join(struct.pack("<HHII", code, *tags[code]) for code in sorted(tags))
        return self.add(struct.pack("<H", len(tags)) + entries + bytes(4))

    def follow(self, directory: int, after: int) -> None:
        """Lets a directory follow another one."""
        (count,) = struct.unpack_from("<H", self.content, directory)
        struct.pack_into("<I", self.content, directory + 2 + 12 * count, after)

    def image(
        self, side: int = 64, data: bytes | None = None, compression: int = 8
    ) -> dict[int, tuple[int, int, int]]:
        """The tags of an RGB image that is one tile of 64 x 64 pixels."""
        data = zlib.compress(bytes(64 * 64 * 3)) if data is None else data
        place = self.add(data)
        bits = self.add(struct.pack("<3H", 8, 8, 8))
        return {
            256: (4, 1, side), 257: (4, 1, side), 258: (3, 3, bits), 259: (3, 1, compression), 262: (3, 1, 2),
            277: (3, 1, 3), 322: (3, 1, 64), 323: (3, 1, 64), 324: (4, 1, place), 325: (4, 1, len(data)),
        }  # fmt: skip

    def write(self, path: Path, first: int) -> Path:
        """Writes the file, which begins with a directory."""
        struct.pack_into("<I", self.content, 4, first)
        path.write_bytes(self.content)
        return path

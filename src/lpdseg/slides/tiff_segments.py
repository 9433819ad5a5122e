"""Rectangles of one page of a TIFF, of which only the tiles or strips that they touch are decoded."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from lpdseg.slides.coded_size import check_coded
from lpdseg.slides.rectangle import WHITE
from lpdseg.slides.tiff_pages import CODED, JPEG, QUICK, is_plain, segment_size

_KEPT_BYTES = 1 << 26
"""Decoded segments that are kept for the next rectangle."""

_END_OF_JPEG = b"\xff\xd9"


Instead = Callable[[int, int, int, int], UInt8[np.ndarray, "height width 3"] | None]


class Segments:
    """The tiles or strips of a page of H x W pixels, 8-bit RGB.

    **Arguments:**

    - `page`: tifffile's page, checked by `check_page`.
    - `instead`: reads a rectangle of the page from elsewhere, for tiles that the writer left out; None where there
      is nothing to read.
    """

    def __init__(self, page: Any, instead: Instead | None = None) -> None:
        self._page, self._instead = page, instead
        self._rows, self._columns = segment_size(page)
        self._across = -(-page.imagewidth // self._columns)
        self._down = -(-page.imagelength // self._rows)
        self._planes = 3 if page.planarconfig == 2 else 1
        self._decode = page.decode
        self._coded = page.compression in CODED
        # A writer that leaves a tile out tells its place as 0, or its length, or both.
        told = np.minimum(page.databytecounts, page.dataoffsets)[: self._planes * self._down * self._across]
        there: Bool[np.ndarray, "down across"] = np.asarray(
            (told.reshape(self._planes, self._down, self._across) > 0).all(0)
        )
        self._there = there
        self._kept: OrderedDict[int, UInt8[np.ndarray, "rows columns samples"] | None] = OrderedDict()
        self.decoded = 0
        """Bytes so far, as if of JPEG: what takes some eight times as long counts as eight."""
        self._bytes = self._rows * self._columns * (3 // self._planes)
        self._cost = self._bytes * (1 if page.compression in QUICK else 8)
        self._most = max(_KEPT_BYTES // self._bytes, self._planes)
        self._mapped = page.asarray(out="memmap") if is_plain(page) else None

    def read(self, x: int, y: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a rectangle inside the page. Tiles that the writer left out are read `instead`, or are white.

        Damaged bytes raise whatever the decoder raises.
        """
        if self._mapped is not None:
            return self._from_map(self._mapped, x, y, width, height)
        pixels = np.empty((height, width, 3), np.uint8)
        for row in range(y // self._rows, -(-(y + height) // self._rows)):
            for column in range(x // self._columns, -(-(x + width) // self._columns)):
                top, left = row * self._rows, column * self._columns
                first_y, first_x = max(top, y), max(left, x)
                last_y, last_x = min(top + self._rows, y + height), min(left + self._columns, x + width)
                target = pixels[first_y - y : last_y - y, first_x - x : last_x - x]
                for plane in range(self._planes):
                    segment = self._segment((plane * self._down + row) * self._across + column)
                    channels = slice(plane, plane + 1) if self._planes > 1 else slice(None)
                    target[..., channels] = (
                        WHITE
                        if segment is None
                        else segment[first_y - top : last_y - top, first_x - left : last_x - left]
                    )
        return pixels

    @property
    def kept_bytes(self) -> int:
        """Of the decoded segments that are kept, at most."""
        return len(self._kept) * self._bytes

    def forget(self) -> None:
        """Keeps none of them."""
        self._kept.clear()

    def holds(self, x: int, y: int, width: int, height: int) -> Bool[np.ndarray, "down across"]:
        """Which of the tiles or strips that a rectangle touches are in the file."""
        rows = slice(max(y, 0) // self._rows, -(-(y + height) // self._rows))
        return self._there[rows, max(x, 0) // self._columns : -(-(x + width) // self._columns)]

    def missing(self, most: int) -> tuple[int, list[tuple[int, int, int, int]]]:
        """How many tiles or strips are not in the file, and x, y, width and height of what the page shows of them:
        of `most` at most, spread evenly."""
        places = np.flatnonzero(~self._there)
        chosen = places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(np.int64)]
        return len(places), [self._shown(*divmod(place, self._across)) for place in chosen.tolist()]

    def _shown(self, row: int, column: int) -> tuple[int, int, int, int]:
        x, y = column * self._columns, row * self._rows
        width, height = self._page.imagewidth, self._page.imagelength
        return x, y, min(self._columns, width - x), min(self._rows, height - y)

    def _segment(self, number: int) -> UInt8[np.ndarray, "rows columns samples"] | None:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        count = self._page.databytecounts[number] if self._page.dataoffsets[number] else 0
        data = None
        if count:
            file = self._page.parent.filehandle
            file.seek(self._page.dataoffsets[number])
            data = file.read(count)
            if self._page.compression == JPEG and _END_OF_JPEG not in data:
                raise ValueError("premature end of JPEG data")  # which libjpeg fills with grey
            if self._coded:
                check_coded(data)
        elif self._instead is not None:
            plane, place = divmod(number, self._down * self._across)
            filled = self._instead(*self._shown(*divmod(place, self._across)))
            if filled is not None:
                return self._keep(number, filled[..., plane : plane + 1] if self._planes > 1 else filled)
        options = {} if self._page.jpegtables is None else {"jpegtables": self._page.jpegtables}
        self.decoded += self._cost
        decoded = self._decode(data, number, **options)[0]
        return self._keep(number, None if decoded is None else decoded[0])

    def _keep(
        self, number: int, segment: UInt8[np.ndarray, "rows columns samples"] | None
    ) -> UInt8[np.ndarray, "rows columns samples"] | None:
        self._kept[number] = segment
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return segment

    def _from_map(
        self, mapped: Any, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        if self._planes > 1:
            return np.ascontiguousarray(mapped[:, y : y + height, x : x + width].transpose(1, 2, 0))
        return np.array(mapped[y : y + height, x : x + width])

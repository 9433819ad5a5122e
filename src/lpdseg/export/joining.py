"""Parts of regions, outlined tile by tile → whole regions (union-find).

W pixels of an edge; h x w of a tile. A part or region has a number from 1; 0 stands for none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8


@dataclass(frozen=True)
class TracedRegion:
    """A connected region: pixels of one class that touch along their sides.

    - `index`: of its class.
    - `pixels`: how many it has in the mask.
    - `polygon`: shapely geometry in pixels of the grid, valid, without points on straight lines.
    """

    index: int
    pixels: int
    polygon: Any


@dataclass
class _Open:
    """A region to which parts may still come."""

    index: int
    pixels: int
    polygons: list[Any]


@dataclass
class OpenRegions:
    """The regions that are still open, and those that are whole and wait to be taken."""

    _parent: dict[int, int] = field(default_factory=dict)
    _open: dict[int, _Open] = field(default_factory=dict)
    _closed: list[_Open] = field(default_factory=list)
    _last: int = 0

    def add(
        self, parts: Int[np.ndarray, "h w"], index: UInt8[np.ndarray, " parts"], polygons: list[Any]
    ) -> Callable[[Int[np.ndarray, " W"]], Int[np.ndarray, " W"]]:
        """Takes in the parts of a tile, numbered from 1, with their classes and polygons; returns what gives them
        numbers that no other part has."""
        before, first = np.int64(self._last), self._last + 1
        pixels = np.bincount(parts.ravel(), minlength=len(index) + 1)[1:]
        for number, (c, count, polygon) in enumerate(zip(index, pixels, polygons, strict=True), first):
            self._parent[number] = number
            self._open[number] = _Open(int(c), int(count), [polygon])
        self._last += len(index)
        return lambda edge: np.where(edge > 0, edge + before, 0)

    def join(self, one: Int[np.ndarray, " W"], other: Int[np.ndarray, " W"]) -> None:
        """Makes one region of those that have the same class on both sides of an edge."""
        both = (one > 0) & (other > 0)
        for pair in np.unique(np.stack([one[both], other[both]], 1), axis=0).tolist():
            large, small = (self._find(number) for number in pair)
            if large == small or self._open[large].index != self._open[small].index:
                continue
            if len(self._open[large].polygons) < len(self._open[small].polygons):
                large, small = small, large
            self._parent[small] = large
            gone = self._open.pop(small)
            self._open[large].pixels += gone.pixels
            self._open[large].polygons += gone.polygons

    def close(self, edge: Int[np.ndarray, " W"]) -> Int[np.ndarray, " W"]:
        """Closes the regions that do not reach the edge; returns the edge with one number per region."""
        numbers, places = np.unique(edge, return_inverse=True)
        roots = [self._find(number) if number else 0 for number in numbers.tolist()]
        kept = set(roots)
        self._closed += [self._open.pop(number) for number in sorted(self._open) if number not in kept]
        self._parent = {root: root for root in kept if root}
        renumbered: Int[np.ndarray, " W"] = np.array(roots, np.int64)[places]
        return renumbered

    def take_closed(self) -> Iterator[TracedRegion]:
        """Gives the closed regions and forgets them."""
        import shapely

        closed, self._closed = self._closed, []
        for region in closed:
            whole = region.polygons[0]
            if len(region.polygons) > 1:
                # Where parts met, points are left on straight lines.
                whole = shapely.simplify(shapely.union_all(region.polygons), 0)
            yield TracedRegion(region.index, region.pixels, whole)

    def _find(self, number: int) -> int:
        root = number
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[number] != root:
            self._parent[number], number = root, self._parent[number]
        return root

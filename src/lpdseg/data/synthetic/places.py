"""Where bodies lie: ellipses thrown into an area until no more fit, and the cells that they divide it into."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage

from lpdseg.data.synthetic.noise import Field, Mask, Vector, direction, many_between
from lpdseg.data.synthetic.scene import Scene

_ANGLES = 24


@dataclass(frozen=True)
class Places:
    """Positions in pixels, half axes in pixels and directions of the long axis as unit vectors."""

    x: Vector
    y: Vector
    long: Vector
    short: Vector
    cosine: Vector
    sine: Vector

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: Int64[np.ndarray, " M"] | Bool[np.ndarray, " N"]) -> "Places":
        return Places(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def joined(self, other: "Places") -> "Places":
        """These and the others."""
        names = self.__dataclass_fields__
        return Places(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))

    def rows(self) -> Int64[np.ndarray, " N"]:
        """Row of the pixel that holds each position."""
        return np.asarray(np.floor(self.y), np.int64)

    def columns(self) -> Int64[np.ndarray, " N"]:
        """Column of the pixel that holds each position."""
        return np.asarray(np.floor(self.x), np.int64)


def place(
    scene: Scene,
    where: Mask,
    length: tuple[float, float],
    ratio: tuple[float, float],
    gap: float,
    *,
    along: tuple[Field, Field] | None = None,
    straying: float = 0.06,
    per_mm2: float | None = None,
    blocking: bool = True,
) -> Places:
    """Throws ellipses into `where` until hardly one more fits.

    **Arguments:**

    - `where`: pixels where a centre may lie.
    - `length`: range of long axes in microns; `ratio`: range of short / long.
    - `gap`: least distance between outlines in microns; negative lets them overlap.
    - `along`: a field of unit vectors (x, y) that the long axes follow; random directions without.
    - `straying`: how far directions leave `along`, in turns.
    - `per_mm2`: how many are thrown per square millimetre; by default as many as there is room for.
    - `blocking`: keep off the places of earlier calls, and later calls off these.
    """
    rng, mpp = scene.rng, scene.mpp
    mean = 0.5 * (length[0] + length[1]) * max(0.5 * (ratio[0] + ratio[1]), 0.35)
    step = max(0.45 * (mean + max(gap, 0.0)), 1.5 * mpp) / mpp
    rows, columns = (int(n / step) + 1 for n in scene.shape)
    count = rows * columns
    y = np.repeat(np.arange(rows), columns).astype(np.float32) + rng.random(count, dtype=np.float32)
    x = np.tile(np.arange(columns), rows).astype(np.float32) + rng.random(count, dtype=np.float32)
    y, x = y * step, x * step
    odds = 1.0 if per_mm2 is None else per_mm2 * (step * mpp) ** 2 / 1e6
    keep = (y < scene.shape[0]) & (x < scene.shape[1]) & (rng.random(count, dtype=np.float32) < odds)
    order = np.argsort(rng.random(count), kind="stable")
    order = order[keep[order]]
    order = order[where[np.floor(y[order]).astype(np.int64), np.floor(x[order]).astype(np.int64)]]
    x, y = x[order], y[order]
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    long = many_between(rng, *length, len(x)) * np.float32(0.5 / mpp)
    short = long * many_between(rng, *ratio, len(x))
    turns = rng.random(len(x), dtype=np.float32)
    cosine, sine = direction(turns)
    if along is not None:
        turn_cosine, turn_sine = direction((turns - 0.5) * 2 * straying)
        ux, uy = along[0][row, column], along[1][row, column]
        cosine, sine = ux * turn_cosine - uy * turn_sine, ux * turn_sine + uy * turn_cosine
    places = Places(x, y, long, short, cosine.astype(np.float32), sine.astype(np.float32))
    return places[_fitting(scene, places, row, column, gap / mpp, blocking)]


def _fitting(
    scene: Scene,
    places: Places,
    rows: Int64[np.ndarray, " N"],
    columns: Int64[np.ndarray, " N"],
    gap: float,
    blocking: bool,
) -> Int64[np.ndarray, " M"]:
    """Indices of the ellipses that fit, taken in order; marks the canvas with them."""
    taken = scene.taken if blocking else np.zeros_like(scene.taken)
    kept = []
    # Half pixels and 24 angles are fine enough to keep ellipses apart, and few enough to be remembered.
    half_long = np.floor(2 * (places.long + 0.5 * gap) + 0.5).astype(np.int64).tolist()
    half_short = np.floor(2 * (places.short + 0.5 * gap) + 0.5).astype(np.int64).tolist()
    angles = _angle_index(places.cosine, places.sine).tolist()
    height, width = taken.shape
    for index, (r, c) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if taken[r, c]:
            continue
        stamp = _ellipse(max(half_long[index], 1), max(half_short[index], 1), angles[index])
        reach = stamp.shape[0] // 2
        top, left = r - reach, c - reach
        if top < 0 or left < 0 or r + reach >= height or c + reach >= width:
            stamp = stamp[
                max(-top, 0) : stamp.shape[0] - max(r + reach + 1 - height, 0),
                max(-left, 0) : stamp.shape[1] - max(c + reach + 1 - width, 0),
            ]
            top, left = max(top, 0), max(left, 0)
        window = taken[top : top + stamp.shape[0], left : left + stamp.shape[1]]
        if (window & stamp).any():
            continue
        window |= stamp
        kept.append(index)
    return np.array(kept, np.int64)


_AXES = direction(np.arange(_ANGLES, dtype=np.float32) / (2 * _ANGLES))


def _angle_index(cosine: Vector, sine: Vector) -> Int64[np.ndarray, " N"]:
    """The nearest of 24 directions of an axis."""
    match = np.abs(cosine[:, None] * _AXES[0] + sine[:, None] * _AXES[1])
    return np.argmax(match, axis=1) if len(cosine) else np.zeros(0, np.int64)


@lru_cache(maxsize=16384)
def _ellipse(half_long: int, half_short: int, angle: int) -> Mask:
    """An ellipse in a square window of odd width; half axes in half pixels."""
    reach = half_long // 2 + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    u = (x * _AXES[0][angle] + y * _AXES[1][angle]) / (0.5 * half_long)
    v = (y * _AXES[0][angle] - x * _AXES[1][angle]) / (0.5 * half_short)
    return np.asarray(u * u + v * v <= 1)


def mosaic(scene: Scene, places: Places) -> tuple[Float32[np.ndarray, "H W"], Mask]:
    """Divides the canvas into cells around nuclei.

    **Returns:** one random number in 0..1 per cell, and the pixels where two cells meet.
    """
    shade = scene.rng.random(len(places) + 1, dtype=np.float32)
    if len(places) == 0:
        return np.full(scene.shape, shade[0], np.float32), np.zeros(scene.shape, bool)
    seed = np.full(scene.shape, -1, np.int64)
    seed[places.rows(), places.columns()] = np.arange(len(places))
    rows, columns = ndimage.distance_transform_edt(seed < 0, return_distances=False, return_indices=True)
    cell = _bent(scene, seed[rows, columns])
    border = np.zeros(scene.shape, bool)
    border[:, 1:] |= cell[:, 1:] != cell[:, :-1]
    border[1:] |= cell[1:] != cell[:-1]
    return shade[cell], border


def _bent(scene: Scene, cells: Int64[np.ndarray, "H W"]) -> Int64[np.ndarray, "H W"]:
    """Moves every pixel's cell by about a micron, smoothly: borders of cells are never straight."""
    height, width = cells.shape
    strength = scene.px(1.1)
    row = np.arange(height)[:, None] + np.floor(strength * scene.noise(4.0) + 0.5).astype(np.int64)
    column = np.arange(width)[None, :] + np.floor(strength * scene.noise(4.0) + 0.5).astype(np.int64)
    return np.asarray(cells[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])


def nearest(
    scene: Scene, places: Places, x: Field, y: Field, count: int
) -> tuple[list[Field], Int64[np.ndarray, "H W"]]:
    """Distances in microns from points (x, y), also in microns, to the nearest `count` centres, nearest first.

    **Returns:** the distances, 1e6 and more where there are fewer centres, and the index of the nearest centre.
    """
    ranked = [np.full(x.shape, 1e6 * (rank + 1), np.float32) for rank in range(count)]
    first = np.zeros(x.shape, np.int64)
    middles = zip((places.x * scene.mpp).tolist(), (places.y * scene.mpp).tolist(), strict=True)
    for index, (centre_x, centre_y) in enumerate(middles):
        dx, dy = x - centre_x, y - centre_y
        distance = np.sqrt(dx * dx + dy * dy)
        first[distance < ranked[0]] = index
        for rank in range(count):
            ranked[rank], distance = np.minimum(ranked[rank], distance), np.maximum(ranked[rank], distance)
    return ranked, first

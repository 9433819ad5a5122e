"""Random numbers and smooth random fields that come out the same, bit for bit, on every machine.

Only `Generator.random`, additions, multiplications, divisions and square roots take part: IEEE 754 fixes their
results. Sines come from a rounded table, blurs count integers. Libraries with vectorised transcendental
functions or fused multiply-adds would differ in last bits, and a threshold turns a last bit into a pixel.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Int64

Field = Float32[np.ndarray, "H W"]
Mask = Bool[np.ndarray, "H W"]
Vector = Float32[np.ndarray, " N"]

_TURN = 4096
_COSINE = np.array([round(math.cos(2 * math.pi * i / _TURN), 7) for i in range(_TURN)], np.float32)


def generator(*key: int) -> np.random.Generator:
    """A stream of its own for every tuple of non-negative integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """One uniform number in [low, high)."""
    return low + (high - low) * float(rng.random())


def many_between(rng: np.random.Generator, low: float, high: float, count: int) -> Vector:
    """`count` uniform numbers in [low, high]."""
    return np.asarray(low + (high - low) * rng.random(count, dtype=np.float32), np.float32)


def pick(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    """An index drawn with the given non-negative weights, which need not add up to 1."""
    rest = float(rng.random()) * math.fsum(weights)
    for index, weight in enumerate(weights):
        rest -= weight
        if rest < 0:
            return index
    return max(index for index, weight in enumerate(weights) if weight > 0)


def direction(turns: Vector) -> tuple[Vector, Vector]:
    """Cosine and sine of angles given in whole turns, any sign, in steps of 1/4096."""
    step = np.floor(turns * _TURN).astype(np.int64)
    return _COSINE[step % _TURN], _COSINE[(step - _TURN // 4) % _TURN]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Field:
    """A smooth random field, mean about 0 and standard deviation about 1.

    Random values on a square lattice, interpolated by quadratic B-splines.

    **Arguments:** `cell`: lattice spacing in pixels, > 0; blobs are about twice as wide.
    """
    (row, row_weights), (column, column_weights) = (_spline(rng, length, cell) for length in shape)
    lattice = 5.2 * rng.random((int(row[-1]) + 3, int(column[-1]) + 3), dtype=np.float32) - 2.6
    rows = sum(w[:, None] * lattice[row + tap] for tap, w in enumerate(row_weights))
    return np.asarray(sum(w * rows[:, column + tap] for tap, w in enumerate(column_weights)), np.float32)


def _spline(
    rng: np.random.Generator, length: int, cell: float
) -> tuple[Int64[np.ndarray, " L"], tuple[Float32[np.ndarray, " L"], ...]]:
    """First lattice index and three weights of each pixel along one axis."""
    position = (np.arange(length) / cell + float(rng.random())).astype(np.float32)
    first = np.floor(position)
    t = position - first
    return first.astype(np.int64), (0.5 * (1 - t) * (1 - t), 0.5 + t * (1 - t), 0.5 * t * t)


def sampled_noise(rng: np.random.Generator, u: Field, v: Field) -> Field:
    """A smooth random field read at any coordinates (one unit = one lattice cell); about -1..1.

    With `u` slow along a direction and `v` fast across it, this gives fibres.
    """
    lattice = 2 * rng.random((64, 64), dtype=np.float32) - 1
    u_floor, v_floor = np.floor(u), np.floor(v)
    s, t = u - u_floor, v - v_floor
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    i, j = u_floor.astype(np.int64) & 63, v_floor.astype(np.int64) & 63
    i_next, j_next = (i + 1) & 63, (j + 1) & 63
    top = lattice[i, j] * (1 - t) + lattice[i, j_next] * t
    bottom = lattice[i_next, j] * (1 - t) + lattice[i_next, j_next] * t
    return np.asarray(top * (1 - s) + bottom * s, np.float32)


def softened(mask: Mask, radius: int) -> Field:
    """Share of set pixels in a (2·radius + 1)² box, taken twice: a soft edge in 0..1.

    The shares of masks that divide the plane add up to 1.
    """
    counts = mask.astype(np.int64)
    if radius < 1:
        return np.asarray(counts, np.float32)
    for axis in (0, 1, 0, 1):
        counts = _box_sum(counts, radius, axis)
    return np.asarray(counts / float((2 * radius + 1) ** 4), np.float32)


def _box_sum(counts: Int64[np.ndarray, "H W"], radius: int, axis: int) -> Int64[np.ndarray, "H W"]:
    """Sums over 2·radius + 1 neighbours along an axis; the edge is repeated."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius + 1, radius)
    total = np.cumsum(np.pad(counts, pad, mode="edge"), axis=axis)
    width = 2 * radius + 1
    sums: Int64[np.ndarray, "H W"] = (
        total[width:] - total[:-width] if axis == 0 else total[:, width:] - total[:, :-width]
    )
    return sums


def slope(field: Field) -> tuple[Field, Field]:
    """Unit vectors (x, y) up the slope of a field; (1, 0) where it is flat."""
    padded = np.pad(field, 1, mode="edge")
    dx = padded[1:-1, 2:] - padded[1:-1, :-2]
    dy = padded[2:, 1:-1] - padded[:-2, 1:-1]
    length = np.sqrt(dx * dx + dy * dy)
    flat = length < 1e-6
    length[flat] = 1
    return np.where(flat, np.float32(1), dx / length), np.where(flat, np.float32(0), dy / length)

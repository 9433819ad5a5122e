"""Painting bodies: outline, chromatin, membrane and nucleoli of many at once, laid over the ground one by one."""

import numpy as np
from jaxtyping import Float32, Int64

from lpdseg.data.synthetic.noise import Field, many_between
from lpdseg.data.synthetic.nuclei import Bodies, Kind
from lpdseg.data.synthetic.places import Places
from lpdseg.data.synthetic.scene import Ground, Scene

Windows = Float32[np.ndarray, "N W W"]
_AT_ONCE = 64  # bodies evaluated together; bounds memory


def paint(scene: Scene, ground: Ground, bodies: Bodies) -> None:
    """Paints bodies onto the ground, in place."""
    places = bodies.places
    order = np.argsort(places.long, kind="stable")  # similar sizes share windows
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        _paint_some(scene, ground, bodies.kind, places[chosen])


def _paint_some(scene: Scene, ground: Ground, kind: Kind, places: Places) -> None:
    rng, count = scene.rng, len(places)
    reach = int(np.ceil(1.25 * places.long.max())) + 2
    rows, columns = places.rows(), places.columns()
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    dx = (columns + np.float32(0.5) - places.x).astype(np.float32)[:, None, None] + offset[None, None, :]
    dy = (rows + np.float32(0.5) - places.y).astype(np.float32)[:, None, None] + offset[None, :, None]
    cosine, sine = places.cosine[:, None, None], places.sine[:, None, None]
    u = (dx * cosine + dy * sine) / places.long[:, None, None]
    v = (dy * cosine - dx * sine) / places.short[:, None, None]
    radius = np.sqrt(u * u + v * v) + np.float32(1e-3)
    rho = radius / _outline(rng, kind.wobble, u / radius, v / radius)

    edge = np.float32(max(scene.px(kind.softness), 1.0))
    cover = kind.cover * np.clip((1 - rho) * places.short[:, None, None] / edge + 0.5, 0, 1)
    density = many_between(rng, *kind.h, count)[:, None, None] * _chromatin(scene, kind, rows, columns, reach, rho)
    for number in range(2 if kind.nucleoli > 0 else 0):
        seen = (rng.random(count, dtype=np.float32) < kind.nucleoli / (1 + number))[:, None, None]
        centre = (rng.random((2, count), dtype=np.float32) - 0.5)[:, :, None, None]
        size = many_between(rng, 0.7, 1.25, count)[:, None, None] / scene.mpp
        du, dv = (u - centre[0]) * places.long[:, None, None], (v - centre[1]) * places.short[:, None, None]
        spot = np.clip(1.5 - np.sqrt(du * du + dv * dv) / size, 0, 1)
        density = density + np.where(seen, 0.9 * spot, np.float32(0))
    _blend(ground, rows - reach, columns - reach, cover, density, kind.e)


def _outline(rng: np.random.Generator, wobble: float, cosine: Windows, sine: Windows) -> Windows:
    """Radius of the outline by direction: 1 plus the first three harmonics at random strengths."""
    weights = ((rng.random((4, len(cosine)), dtype=np.float32) - 0.5) * 2 * wobble)[:, :, None, None]
    cosine_2, sine_2 = cosine * cosine - sine * sine, 2 * cosine * sine
    cosine_3, sine_3 = cosine_2 * cosine - sine_2 * sine, sine_2 * cosine + cosine_2 * sine
    outline: Windows = 1 + weights[0] * sine_2 + weights[1] * cosine_3 + weights[2] * sine_3 + weights[3] * cosine
    return outline


def _chromatin(
    scene: Scene,
    kind: Kind,
    rows: Int64[np.ndarray, " N"],
    columns: Int64[np.ndarray, " N"],
    reach: int,
    rho: Windows,
) -> Windows:
    """Relative density inside a nucleus: clumps, a pale inside, a dark membrane."""
    pattern: Windows = np.ones_like(rho)
    if kind.clumps > 0:
        steps = np.arange(-reach, reach + 1)
        y = (rows[:, None, None] + steps[None, :, None]) % scene.shape[0]
        x = (columns[:, None, None] + steps[None, None, :]) % scene.shape[1]
        pattern = 1 + kind.clumps * scene.chromatin[y, x]
    open_ = kind.vesicular * many_between(scene.rng, 0.5, 1.25, len(rows))[:, None, None]
    pale = 1 - open_ * np.clip((0.95 - rho) * 4, 0, 1)
    return np.asarray(np.maximum(pattern, 0.2) * pale, np.float32)


def _blend(
    ground: Ground,
    tops: Int64[np.ndarray, " N"],
    lefts: Int64[np.ndarray, " N"],
    cover: Windows,
    h: Windows,
    e: float,
) -> None:
    """Lays windows over the ground one after the other, cut at the canvas."""
    height, width = ground.h.shape
    size = cover.shape[1]
    for index, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
        into = slice(max(top, 0), min(top + size, height)), slice(max(left, 0), min(left + size, width))
        of = (
            slice(into[0].start - top, into[0].stop - top),
            slice(into[1].start - left, into[1].stop - left),
        )
        share = cover[index][of]
        _mix(ground.h[into], share, h[index][of])
        _mix(ground.e[into], share, e)


def _mix(below: Field, share: Field, above: Field | float) -> None:
    below += share * (above - below)

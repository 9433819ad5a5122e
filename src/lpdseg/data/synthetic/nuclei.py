"""Nuclei and other small bodies: shape, chromatin, membrane, nucleoli."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from lpdseg.data.synthetic.noise import Field, Mask, many_between
from lpdseg.data.synthetic.places import Places, place
from lpdseg.data.synthetic.scene import Ground, Scene

Windows = Float32[np.ndarray, "N W W"]
_AT_ONCE = 64  # bodies evaluated together; bounds memory


@dataclass(frozen=True)
class Kind:
    """A kind of nucleus, or of any body with an elliptic outline.

    **Arguments:**

    - `length`: range of long axes in microns; `ratio`: range of short / long axis.
    - `h`: range of haematoxylin density; `e`: eosin density.
    - `vesicular`: 0..1, how much paler the inside is than the membrane.
    - `clumps`: contrast of the chromatin texture, as a share of the density.
    - `nucleoli`: odds of a nucleolus (twice: each nucleus may have two).
    - `wobble`: how far the outline leaves an ellipse, as a share of the radius.
    - `softness`: width of the edge in microns.
    - `cover`: 0..1, opacity over what lies below.
    """

    length: tuple[float, float]
    ratio: tuple[float, float]
    h: tuple[float, float]
    e: float = 0.38
    vesicular: float = 0.0
    clumps: float = 0.2
    nucleoli: float = 0.0
    wobble: float = 0.08
    softness: float = 0.7
    cover: float = 1.0

    def broader(self, factor: float) -> "Kind":
        """The same kind, less elongated."""
        return replace(self, ratio=(min(self.ratio[0] * factor, 1.0), min(self.ratio[1] * factor, 1.0)))

    def scaled(self, factor: float) -> "Kind":
        """The same kind, larger or smaller."""
        return replace(self, length=(self.length[0] * factor, self.length[1] * factor))


CARCINOMA = Kind((8.5, 12.0), (0.68, 0.95), (0.85, 1.35), vesicular=0.5, clumps=0.32, nucleoli=0.5, wobble=0.1)
COLUMNAR = Kind((9.5, 13.0), (0.4, 0.58), (1.0, 1.5), vesicular=0.38, clumps=0.28, nucleoli=0.25)
SPINDLE = Kind((13.0, 20.0), (0.26, 0.42), (0.9, 1.35), vesicular=0.3, clumps=0.22, nucleoli=0.2, wobble=0.1)
MITOSIS = Kind((6.0, 9.0), (0.35, 0.7), (2.0, 2.5), clumps=0.15, wobble=0.3, softness=0.6)
FIBROCYTE = Kind((12.0, 21.0), (0.11, 0.2), (1.0, 1.6), clumps=0.1, wobble=0.08)
FIBROBLAST = Kind((11.0, 17.0), (0.27, 0.44), (0.7, 1.15), vesicular=0.35, clumps=0.22, nucleoli=0.25)
STELLATE = Kind((8.0, 13.0), (0.28, 0.55), (0.8, 1.3), vesicular=0.15, clumps=0.15, wobble=0.2)
LYMPHOCYTE = Kind((5.8, 7.4), (0.86, 1.0), (1.5, 2.1), clumps=0.2, wobble=0.05)
CENTROBLAST = Kind((8.0, 10.5), (0.8, 1.0), (0.9, 1.2), vesicular=0.5, clumps=0.25, nucleoli=0.6)
PLASMA = Kind((6.4, 7.8), (0.82, 1.0), (1.4, 1.8), vesicular=0.25, clumps=0.42, wobble=0.05)
PYKNOTIC = Kind((3.2, 6.0), (0.6, 1.0), (1.7, 2.6), clumps=0.08, wobble=0.14)
FRAGMENT = Kind((1.1, 2.8), (0.6, 1.0), (1.2, 2.3), clumps=0.0, wobble=0.1)
GHOST = Kind((8.0, 12.0), (0.65, 0.95), (0.25, 0.6), e=0.66, vesicular=0.2, clumps=0.2, softness=1.8, cover=0.75)


def paint(scene: Scene, ground: Ground, kind: Kind, places: Places) -> None:
    """Paints bodies of a kind onto the ground, in place."""
    order = np.argsort(places.long, kind="stable")  # similar sizes share windows
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        _paint_some(scene, ground, kind, places[chosen])


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
        place = (rng.random((2, count), dtype=np.float32) - 0.5)[:, :, None, None]
        size = many_between(rng, 0.7, 1.25, count)[:, None, None] / scene.mpp
        du, dv = (u - place[0]) * places.long[:, None, None], (v - place[1]) * places.short[:, None, None]
        spot = np.clip(1.5 - np.sqrt(du * du + dv * dv) / size, 0, 1)
        density = density + 0.9 * seen * spot
    _blend(ground, rows - reach, columns - reach, cover, density, kind.e)


def _outline(rng: np.random.Generator, wobble: float, cosine: Windows, sine: Windows) -> Windows:
    """Radius of the outline by direction: 1 plus harmonics 2, 3 and 5 with random phases."""
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


@dataclass(frozen=True)
class Bodies:
    """Bodies of one kind at their places, to be painted once the ground of all tissues has been joined."""

    kind: Kind
    places: Places


@dataclass(frozen=True)
class Tissue:
    """A painted sub-type: its ground over the whole canvas, its bodies inside its area, lowest first."""

    ground: Ground
    bodies: tuple[Bodies, ...]


def settle(
    scene: Scene,
    kind: Kind,
    where: Mask,
    gap: float,
    *,
    along: tuple[Field, Field] | None = None,
    straying: float = 0.06,
    per_mm2: float | None = None,
) -> Bodies:
    """Throws bodies of a kind into an area; the arguments are those of `place`."""
    places = place(scene, where, kind.length, kind.ratio, gap, along=along, straying=straying, per_mm2=per_mm2)
    return Bodies(kind, places)

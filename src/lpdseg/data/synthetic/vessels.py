"""Capillaries and venules: a pale bore, a thin wall, flat nuclei around it, red cells inside."""

import numpy as np

from lpdseg.data.synthetic.noise import Mask, Vector, direction, many_between
from lpdseg.data.synthetic.nuclei import Bodies, Kind, settle
from lpdseg.data.synthetic.places import Places
from lpdseg.data.synthetic.scene import Scene

_BORE = Kind((9.0, 24.0), (0.4, 0.85), (0.01, 0.03), e=0.08, clumps=0.0, softness=1.0, wobble=0.12)
_WALL = Kind((9.0, 24.0), (0.4, 0.85), (0.1, 0.2), e=0.8, clumps=0.0, wobble=0.12, cover=0.8)
_ENDOTHELIUM = Kind((6.0, 10.0), (0.25, 0.4), (1.1, 1.6), clumps=0.12)
_ERYTHROCYTE = Kind((5.0, 6.5), (0.7, 1.0), (0.02, 0.06), e=1.1, clumps=0.0)
_WALL_WIDTH = 1.3  # microns
_CELLS_EACH = 3


def vessels(scene: Scene, inside: Mask, per_mm2: float) -> tuple[Bodies, ...]:
    """Small vessels, to be painted in the order returned."""
    bores = settle(scene, _BORE, inside, 4.0, per_mm2=per_mm2)
    places = bores.places
    wide = Places(
        places.x,
        places.y,
        places.long + scene.px(_WALL_WIDTH),
        places.short + scene.px(_WALL_WIDTH),
        places.cosine,
        places.sine,
    )
    each = np.repeat(np.arange(len(places)), _CELLS_EACH)
    lining = _on_outline(scene, wide[each])
    cells = _within(scene, places[each])
    seen = scene.rng.random(len(cells)) < 0.45
    return (
        Bodies(_WALL, wide),
        bores,
        Bodies(_ERYTHROCYTE, _shown(scene, cells[seen])),
        Bodies(_ENDOTHELIUM, _shown(scene, lining)),
    )


def _axes(scene: Scene, kind: Kind, count: int) -> tuple[Vector, Vector]:
    """Half axes in pixels."""
    long = many_between(scene.rng, *kind.length, count) * np.float32(0.5 / scene.mpp)
    return long, long * many_between(scene.rng, *kind.ratio, count)


def _on_outline(scene: Scene, places: Places) -> Places:
    """One flat nucleus on each outline, along it."""
    cosine, sine = direction(scene.rng.random(len(places), dtype=np.float32))
    u, v = places.long * cosine, places.short * sine
    du, dv = -places.long * sine, places.short * cosine
    length = np.sqrt(du * du + dv * dv)
    return Places(
        places.x + u * places.cosine - v * places.sine,
        places.y + u * places.sine + v * places.cosine,
        *_axes(scene, _ENDOTHELIUM, len(places)),
        (du * places.cosine - dv * places.sine) / length,
        (du * places.sine + dv * places.cosine) / length,
    )


def _within(scene: Scene, places: Places) -> Places:
    """One red cell inside each ellipse."""
    u = many_between(scene.rng, -0.55, 0.55, len(places)) * places.long
    v = many_between(scene.rng, -0.3, 0.3, len(places)) * places.short
    return Places(
        places.x + u * places.cosine - v * places.sine,
        places.y + u * places.sine + v * places.cosine,
        *_axes(scene, _ERYTHROCYTE, len(places)),
        places.cosine,
        places.sine,
    )


def _shown(scene: Scene, places: Places) -> Places:
    """Those whose centre lies on the canvas."""
    height, width = scene.shape
    return places[(places.x >= 0) & (places.y >= 0) & (places.x < width) & (places.y < height)]

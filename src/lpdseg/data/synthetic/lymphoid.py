"""Lymphocytes: packed, spread through stroma, and mixed with plasma cells."""

import numpy as np

from lpdseg.data.synthetic.fibres import Flow
from lpdseg.data.synthetic.noise import Mask, between, many_between
from lpdseg.data.synthetic.nuclei import (
    CENTROBLAST,
    FIBROBLAST,
    FIBROCYTE,
    LYMPHOCYTE,
    PLASMA,
    Bodies,
    Kind,
    Tissue,
    settle,
)
from lpdseg.data.synthetic.places import Places
from lpdseg.data.synthetic.scene import Ground, Scene
from lpdseg.data.synthetic.stroma import collagen

_PLASMA_BODY = Kind((11.0, 15.0), (0.62, 0.82), (0.34, 0.55), e=0.55, clumps=0.05, softness=0.8)
_HOF = Kind((3.0, 4.2), (0.7, 1.0), (0.1, 0.2), e=0.35, clumps=0.0, softness=1.4, cover=0.8)


def dense(scene: Scene, inside: Mask) -> Tissue:
    """Lymphocytes shoulder to shoulder, a few larger pale blasts between them."""
    blasts = settle(scene, CENTROBLAST, inside, 0.5, per_mm2=between(scene.rng, 100.0, 900.0))
    cells = settle(scene, LYMPHOCYTE, inside, between(scene.rng, -0.4, 0.8))
    grain = scene.noise(1.5)
    h = 0.13 + 0.05 * grain + 0.03 * scene.noise(5.0)
    e = 0.24 + 0.09 * grain + 0.07 * scene.noise(5.0)
    return Tissue(Ground(np.maximum(h, 0.01), np.maximum(e, 0.02)), (blasts, cells))


def diffuse(scene: Scene, inside: Mask) -> Tissue:
    """Lymphocytes in files and small groups between collagen fibres."""
    flow = Flow(scene, bend=0.4)
    base = collagen(scene, flow)
    crowded = inside & (scene.noise(10.0) > -0.55)
    cells = settle(
        scene, LYMPHOCYTE, crowded, between(scene.rng, 0.6, 1.8), per_mm2=between(scene.rng, 6000.0, 16000.0)
    )
    plump = settle(scene, FIBROBLAST, inside, 2.0, along=flow.along, per_mm2=1000.0)
    thin = settle(scene, FIBROCYTE, inside, 2.0, along=flow.along, per_mm2=1000.0)
    return Tissue(Ground(base.h + 0.04, 0.05 + 0.72 * base.e), (cells, plump, thin))


def plasma_cells(scene: Scene, inside: Mask) -> Tissue:
    """Plasma cells: oval purple bodies, nuclei at one end with clumped chromatin, a pale spot beside them."""
    bodies = settle(
        scene, _PLASMA_BODY, inside, between(scene.rng, 0.3, 1.4), per_mm2=between(scene.rng, 9000.0, 25000.0)
    )
    lymphocytes = settle(scene, LYMPHOCYTE, inside, 0.6, per_mm2=between(scene.rng, 2000.0, 9000.0))
    cells, count = bodies.places, len(bodies.places)
    side = np.where(scene.rng.random(count) < 0.5, np.float32(-1), np.float32(1))
    shift = side * (cells.long - scene.px(3.7))
    long = many_between(scene.rng, *PLASMA.length, count) * np.float32(0.5 / scene.mpp)
    nuclei = Places(
        cells.x + shift * cells.cosine,
        cells.y + shift * cells.sine,
        long,
        long * many_between(scene.rng, *PLASMA.ratio, count),
        cells.cosine,
        cells.sine,
    )
    back = -side * scene.px(4.3)
    spot = many_between(scene.rng, *_HOF.length, count) * np.float32(0.5 / scene.mpp)
    hofs = Places(
        nuclei.x + back * cells.cosine, nuclei.y + back * cells.sine, spot, spot, cells.cosine, cells.sine
    )
    flow = Flow(scene, bend=0.6)
    base = collagen(scene, flow)
    ground = Ground(base.h + 0.06, 0.05 + 0.5 * base.e)
    return Tissue(ground, (bodies, Bodies(_HOF, hofs), Bodies(PLASMA, nuclei), lymphocytes))

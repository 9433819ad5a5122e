"""Carcinoma: solid sheets, glands, cribriform nests, and spindle cells that pass for stroma."""

from dataclasses import replace

import numpy as np

from lpdseg.data.synthetic.fibres import Flow
from lpdseg.data.synthetic.noise import Field, Mask, between, many_between, slope
from lpdseg.data.synthetic.nuclei import (
    CARCINOMA,
    COLUMNAR,
    FRAGMENT,
    LYMPHOCYTE,
    MITOSIS,
    PYKNOTIC,
    SPINDLE,
    Bodies,
    Kind,
    Tissue,
    settle,
)
from lpdseg.data.synthetic.places import mosaic, nearest, place
from lpdseg.data.synthetic.scene import Ground, Scene, depth

_SEPTAL = Kind((8.0, 14.0), (0.14, 0.22), (1.0, 1.5))  # thin nuclei between glands


def _graded(scene: Scene, kind: Kind) -> Kind:
    """The kind as this patient's tumour shows it."""
    spread = 0.12 * scene.patient.pleomorphism
    length = (kind.length[0] * (1 - spread), kind.length[1] * (1 + spread))
    wobble = kind.wobble * (0.7 + 0.6 * scene.patient.pleomorphism)
    nucleoli = kind.nucleoli * 2 * scene.patient.nucleoli
    return replace(kind, length=length, wobble=wobble, nucleoli=min(nucleoli, 1.0)).scaled(
        scene.patient.nuclear_size
    )


def _cytoplasm(scene: Scene, cell: Field, border: Mask) -> Ground:
    """Amphophilic cytoplasm, a shade of its own for each cell, pale seams between cells."""
    grain = scene.noise(0.9)
    h = 0.14 + 0.1 * cell + 0.035 * grain + 0.03 * scene.noise(5.0)
    e = 0.42 + 0.22 * cell + 0.07 * grain + 0.06 * scene.noise(12.0)
    seam = border & (scene.noise(8.0) > 0.2)
    return Ground(np.where(seam, 0.6 * h, h), np.where(seam, 0.72 * e, e))


def _passers_by(scene: Scene, inside: Mask) -> list[Bodies]:
    """Lymphocytes between tumour cells, mitoses, dying cells: seldom, but in any tumour."""
    return [
        settle(scene, MITOSIS, inside, 1.0, per_mm2=60.0),
        settle(scene, PYKNOTIC, inside, 1.0, per_mm2=50.0),
        settle(scene, LYMPHOCYTE, inside, 0.5, per_mm2=0.4 * scene.patient.infiltration),
    ]


def solid(scene: Scene, inside: Mask) -> Tissue:
    """Sheets of polygonal cells with large vesicular nuclei."""
    bodies = _passers_by(scene, inside)
    cells = settle(scene, _graded(scene, CARCINOMA), inside, between(scene.rng, 0.3, 3.0))
    return Tissue(_cytoplasm(scene, *mosaic(scene, cells.places)), (cells, *bodies))


def glandular(scene: Scene, inside: Mask) -> Tissue:
    """Glands: palisaded nuclei at the base, pale cytoplasm above them, a white lumen."""
    edge, wall = _glands(scene, inside)
    up = slope(edge)
    kind = _graded(scene, COLUMNAR)
    base = 1.8 + 0.5 * kind.length[1]
    palisade = settle(scene, kind, inside & (edge > base - 1.5) & (edge < base + 1.0), -0.3, along=up)
    above = inside & (edge > base + 1.0) & (edge < wall - 1.0)
    second = settle(scene, kind, above, -0.2, along=up, per_mm2=2000.0 + 6000 * scene.patient.pleomorphism)

    # Where a piece is too narrow for a gland, its cells lie as in a solid nest.
    narrow = np.clip((depth(scene, ~(inside & (edge > base))) - 9) / 3, 0, 1)
    solid_part = settle(scene, kind.broader(1.4), inside & (narrow > 0.3) & (edge > 1), 0.5)

    cells = _cytoplasm(scene, *mosaic(scene, palisade.places.joined(solid_part.places)))
    ground = _hollowed(scene, cells, edge, wall, narrow)
    debris = settle(scene, FRAGMENT, inside & (edge > wall + 2), 1.0, per_mm2=250.0)
    septa = inside & (edge < 1.5) & (narrow == 0)
    fibres = settle(scene, _SEPTAL, septa, 1.0, along=(-up[1], up[0]), per_mm2=2500.0)
    return Tissue(ground, (palisade, second, solid_part, fibres, debris))


def _hollowed(scene: Scene, cells: Ground, edge: Field, wall: Field, narrow: Field) -> Ground:
    """Cytoplasm of glands → with a paler apex, a dense brush, an empty lumen, and septa between glands."""
    apical = np.clip((edge - 8) / 8, 0, 1)
    brush = np.clip(1 - np.abs(edge - wall + 0.8) / 1.2, 0, 1)
    lumen = np.clip(edge - wall + 0.5, 0, 1)
    septum = np.clip((1.8 - edge) / 0.8, 0, 1) * (1 - narrow)
    content = np.clip(0.06 + 0.05 * scene.noise(6.0) + 0.03 * scene.noise(1.5), 0.01, 1)
    h = (cells.h - 0.05 * apical) * (1 - lumen) + 0.3 * content * lumen
    e = (cells.e + 0.05 * apical + 0.22 * brush) * (1 - lumen) + content * lumen
    h = h * (1 - septum) + 0.06 * septum
    e = e * (1 - septum) + (0.5 + 0.1 * scene.noise(3.0)) * septum
    return Ground(h, e)


def _glands(scene: Scene, inside: Mask) -> tuple[Field, Field]:
    """Distance from the gland's outline in microns, and the height of its wall, per pixel."""
    spacing, away = between(scene.rng, 38.0, 62.0), depth(scene, inside)
    centres = place(scene, inside & (away > 10), (spacing, 1.3 * spacing), (0.6, 0.9), 0.0, blocking=False)
    x, y = scene.grid()
    distances, gland = nearest(scene, centres, x + 5 * scene.noise(14.0), y + 5 * scene.noise(14.0), 2)
    edge = np.minimum(away, 0.5 * (distances[1] - distances[0])).astype(np.float32)
    deepest = np.zeros(len(centres) + 1, np.float32)
    np.maximum.at(deepest, gland[inside], edge[inside])
    # A small gland has a lower wall, so that it too has a lumen.
    wall = np.minimum(many_between(scene.rng, 14.5, 20.0, len(deepest)), np.maximum(deepest - 5, 11))
    return edge, wall[gland] + scene.noise(5.0)


def cribriform(scene: Scene, inside: Mask) -> Tissue:
    """Nests of even cells with punched-out round spaces."""
    gap = _spaces(scene, inside)
    lumen = np.clip(0.5 - gap, 0, 1)
    bodies = _passers_by(scene, inside & (gap > 4))
    kind = replace(_graded(scene, CARCINOMA), ratio=(0.62, 0.85)).scaled(0.86)
    up = slope(gap)
    ring = settle(scene, kind, inside & (gap > 4.5) & (gap < 7.5), 0.8, along=up, straying=0.1)
    rest = settle(scene, kind, inside & (gap >= 7.5), 0.8)
    cells = _cytoplasm(scene, *mosaic(scene, ring.places.joined(rest.places)))
    content = np.clip(0.05 + 0.05 * scene.noise(4.0), 0.01, 1)
    rim = np.clip(1 - np.abs(gap - 0.9) / 1.1, 0, 1)
    h = cells.h * (1 - lumen) + 0.4 * content * lumen
    e = (cells.e + 0.15 * rim) * (1 - lumen) + content * lumen
    return Tissue(Ground(h, e), (ring, rest, *bodies))


def _spaces(scene: Scene, inside: Mask) -> Field:
    """Microns from the nearest of the spaces punched into a nest, negative inside one."""
    apart, room = between(scene.rng, 11.0, 17.0), inside & (depth(scene, inside) > 11)
    spaces = place(scene, room, (13.0, 27.0), (0.72, 1.0), apart, blocking=False)
    x, y = scene.grid()
    x, y = (x + 0.8 * scene.noise(6.0)) / scene.mpp, (y + 0.8 * scene.noise(6.0)) / scene.mpp
    gap = np.full(scene.shape, 1e3, np.float32)
    for index in range(len(spaces)):
        dx, dy = x - spaces.x[index], y - spaces.y[index]
        u = dx * spaces.cosine[index] + dy * spaces.sine[index]
        v = dy * spaces.cosine[index] - dx * spaces.sine[index]
        u = u * (spaces.short[index] / spaces.long[index])
        gap = np.minimum(gap, (np.sqrt(u * u + v * v) - spaces.short[index]) * np.float32(scene.mpp))
    return gap


def spindle(scene: Scene, inside: Mask) -> Tissue:
    """Fascicles of crowded, dark spindle cells with little matrix."""
    flow = Flow(scene, bend=0.6)
    bodies = _passers_by(scene, inside)
    cells = settle(
        scene, _graded(scene, SPINDLE), inside, between(scene.rng, -0.2, 0.8), along=flow.along, straying=0.05
    )
    strands, fine = flow.strands(scene, 26.0, 3.2), flow.strands(scene, 14.0, 1.2)
    h = 0.18 + 0.06 * strands + 0.04 * fine + 0.03 * scene.noise(1.0)
    e = 0.48 + 0.14 * strands + 0.1 * fine + 0.05 * scene.noise(8.0)
    return Tissue(Ground(h, e), (cells, *bodies))

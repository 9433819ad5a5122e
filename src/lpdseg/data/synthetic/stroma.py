"""Stroma: dense collagen, the cellular reaction around a tumour, loose myxoid matrix."""

import numpy as np

from lpdseg.data.synthetic.fibres import Flow
from lpdseg.data.synthetic.noise import Mask, between
from lpdseg.data.synthetic.nuclei import FIBROBLAST, FIBROCYTE, LYMPHOCYTE, STELLATE, Bodies, Tissue, settle
from lpdseg.data.synthetic.scene import Ground, Scene
from lpdseg.data.synthetic.vessels import vessels


def collagen(scene: Scene, flow: Flow) -> Ground:
    """Wavy eosinophilic bundles with clefts between them."""
    bundles, fibres, fine = (flow.strands(scene, *size) for size in ((60.0, 6.0), (35.0, 2.2), (18.0, 0.9)))
    cleft = flow.clefts(scene, 45.0, 6.0, between(scene.rng, 0.1, 0.6))
    e = 0.66 + 0.16 * bundles + 0.18 * fibres + 0.17 * fine + 0.1 * scene.noise(25.0) + 0.05 * scene.noise(1.0)
    h = 0.05 + 0.02 * bundles + 0.02 * fine
    return Ground(np.maximum(h * (1 - cleft), 0), np.maximum(e * (1 - 0.93 * cleft), 0.02))


def _visitors(scene: Scene, inside: Mask) -> tuple[Bodies, ...]:
    """What any stroma holds: small vessels and a few lymphocytes."""
    few = vessels(scene, inside, between(scene.rng, -60.0, 160.0))
    return (*few, settle(scene, LYMPHOCYTE, inside, 1.0, per_mm2=scene.patient.infiltration))


def collagenous(scene: Scene, inside: Mask) -> Tissue:
    """Dense pink collagen with few thin dark nuclei."""
    flow = Flow(scene, bend=0.3)
    visitors = _visitors(scene, inside)
    cells = settle(scene, FIBROCYTE, inside, 6.0, along=flow.along, per_mm2=between(scene.rng, 1500.0, 3500.0))
    return Tissue(collagen(scene, flow), (*visitors, cells))


def desmoplastic(scene: Scene, inside: Mask) -> Tissue:
    """Young, cellular stroma: plump spindle cells in pale wavy collagen."""
    flow = Flow(scene, bend=0.55)
    base = collagen(scene, flow)
    ground = Ground(base.h + 0.07 + 0.04 * flow.strands(scene, 24.0, 3.0), 0.12 + 0.62 * base.e)
    visitors = _visitors(scene, inside)
    crowd = between(scene.rng, 4500.0, 12000.0)
    plump = settle(scene, FIBROBLAST, inside, 2.0, along=flow.along, per_mm2=crowd)
    thin = settle(scene, FIBROCYTE, inside, 2.0, along=flow.along, per_mm2=1200.0)
    return Tissue(ground, (*visitors, plump, thin))


def myxoid(scene: Scene, inside: Mask) -> Tissue:
    """Loose, pale, bluish matrix with wisps and small stellate cells."""
    flow = Flow(scene, bend=1.0)
    wisps = np.clip(1 - 4 * np.abs(flow.strands(scene, 22.0, 7.0)), 0, 1)
    cross = np.clip(1 - 6 * np.abs(Flow(scene, bend=1.0).strands(scene, 18.0, 9.0)), 0, 1)
    cloud = scene.noise(12.0)
    h = 0.1 + 0.03 * cloud + 0.05 * wisps + 0.02 * scene.noise(1.2)
    e = 0.16 + 0.05 * scene.noise(16.0) + 0.24 * wisps + 0.14 * cross + 0.04 * scene.noise(1.2)
    visitors = _visitors(scene, inside)
    cells = settle(scene, STELLATE, inside, 4.0, along=flow.along, straying=0.15, per_mm2=3500.0)
    return Tissue(Ground(np.maximum(h, 0.01), np.maximum(e, 0.02)), (*visitors, cells))

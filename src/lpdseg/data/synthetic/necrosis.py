"""Necrosis: ghosts of cells, nuclear dust, and liquefied debris."""

import numpy as np

from lpdseg.data.synthetic.noise import Mask, between
from lpdseg.data.synthetic.nuclei import FRAGMENT, GHOST, LYMPHOCYTE, PYKNOTIC, Kind, Tissue, settle
from lpdseg.data.synthetic.places import mosaic
from lpdseg.data.synthetic.scene import Ground, Scene

_LUMP = Kind((5.0, 13.0), (0.5, 0.9), (0.05, 0.2), e=0.7, clumps=0.3, wobble=0.25, softness=2.0, cover=0.8)
_HOLE = Kind((3.0, 12.0), (0.6, 1.0), (0.0, 0.02), e=0.04, clumps=0.0, wobble=0.15, softness=1.2, cover=0.9)


def coagulative(scene: Scene, inside: Mask) -> Tissue:
    """Smudged eosinophilic ghosts of tumour cells, nuclei fading or gone."""
    dust = settle(scene, PYKNOTIC, inside, 1.0, per_mm2=between(scene.rng, 100.0, 500.0))
    ghosts = settle(scene, GHOST, inside, 2.0, per_mm2=14000.0)
    cell, border = mosaic(scene, ghosts.places)
    grain, patchy = scene.noise(1.3), scene.noise(9.0)
    seam = border & (scene.noise(6.0) > 0)
    e = 0.66 + 0.2 * cell + 0.1 * grain + 0.13 * patchy
    h = 0.1 + 0.06 * cell + 0.03 * grain + 0.03 * patchy
    return Tissue(Ground(np.maximum(h, 0.01), np.maximum(np.where(seam, 0.7 * e, e), 0.05)), (ghosts, dust))


def karyorrhectic(scene: Scene, inside: Mask) -> Tissue:
    """Granular pink debris peppered with fragments of nuclei."""
    clusters = scene.noise(9.0)
    crumbs = settle(scene, FRAGMENT, inside & (clusters > 0.3), 0.6, per_mm2=40000.0)
    strays = settle(scene, FRAGMENT, inside, 1.5, per_mm2=between(scene.rng, 2500.0, 7000.0))
    shrunken = settle(scene, PYKNOTIC, inside & (clusters > -0.6), 1.5, per_mm2=2500.0)
    ghosts = settle(scene, GHOST, inside, 2.0, per_mm2=1500.0)
    grain, fine = scene.noise(2.4), scene.noise(1.0)
    e = 0.52 + 0.15 * grain + 0.1 * fine + 0.14 * scene.noise(11.0)
    h = 0.15 + 0.05 * grain + 0.03 * fine + 0.05 * np.clip(clusters, 0, 2)
    return Tissue(Ground(np.maximum(h, 0.01), np.maximum(e, 0.04)), (ghosts, shrunken, strays, crumbs))


def liquefactive(scene: Scene, inside: Mask) -> Tissue:
    """Pale, thin debris with empty spaces, lumps and inflammatory cells."""
    holes = settle(scene, _HOLE, inside, 1.0, per_mm2=between(scene.rng, 1500.0, 5000.0))
    lumps = settle(scene, _LUMP, inside, 3.0, per_mm2=3500.0)
    crumbs = settle(scene, FRAGMENT, inside, 2.5, per_mm2=3000.0)
    cells = settle(scene, LYMPHOCYTE.scaled(0.9), inside, 3.0, per_mm2=between(scene.rng, 100.0, 1200.0))
    cloud, fine = scene.noise(7.0), scene.noise(1.4)
    thin = np.clip(0.75 + 0.6 * cloud + 0.3 * scene.noise(3.0), 0.03, 1.4)
    e = (0.3 + 0.12 * fine) * thin
    h = (0.09 + 0.05 * fine) * thin
    return Tissue(Ground(np.maximum(h, 0.005), np.maximum(e, 0.01)), (holes, lumps, crumbs, cells))

"""Background: empty glass, fat, tears in the section."""

import numpy as np

from lpdseg.data.synthetic.noise import Mask, slope
from lpdseg.data.synthetic.nuclei import FIBROCYTE, FRAGMENT, Tissue, settle
from lpdseg.data.synthetic.places import nearest, place
from lpdseg.data.synthetic.scene import Ground, Scene, depth


def glass(scene: Scene, inside: Mask) -> Tissue:
    """Nothing, and a speck of dust."""
    haze = np.clip(0.012 + 0.008 * scene.noise(20.0), 0, 1)
    return Tissue(Ground(haze, haze.copy()), (settle(scene, FRAGMENT, inside, 4.0, per_mm2=40.0),))


def fat(scene: Scene, inside: Mask) -> Tissue:
    """Round white vacuoles, thin pink membranes, a flat nucleus here and there."""
    centres = place(scene, np.ones(scene.shape, bool), (34.0, 62.0), (0.7, 1.0), 0.0, blocking=False)
    x, y = scene.grid()
    (first, second, third), _ = nearest(scene, centres, x + 1.5 * scene.noise(15.0), y + 1.5 * scene.noise(15.0), 3)
    # The third nearest centre rounds the corners where three vacuoles meet.
    side, corner = second - first + 1e-3, third - first + 2e-3
    edge = np.minimum(0.5 * side * corner / (corner + 3 * side), depth(scene, inside)).astype(np.float32)
    rim = np.clip((0.9 + 0.2 * scene.noise(8.0) - edge) / 0.6, 0, 1)
    up = slope(edge)
    cells = settle(scene, FIBROCYTE.scaled(0.7), inside & (edge < 1.2), 2.0, along=(-up[1], up[0]), per_mm2=3000.0)
    return Tissue(Ground(0.01 + 0.04 * rim, 0.015 + 0.42 * rim), (cells,))


def tear(scene: Scene, inside: Mask) -> Tissue:
    """A gap in the section, crossed by a few threads."""
    threads = np.clip(1 - 14 * np.abs(scene.noise(16.0)), 0, 1) * np.clip(scene.noise(20.0) - 0.6, 0, 1)
    haze = np.clip(0.015 + 0.01 * scene.noise(15.0), 0, 1)
    return Tissue(Ground(haze, haze + 0.4 * threads), (settle(scene, FRAGMENT, inside, 4.0, per_mm2=120.0),))

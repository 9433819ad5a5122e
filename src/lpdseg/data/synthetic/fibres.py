"""Fibrous ground: wavy bundles that share a direction, and that direction as a field for the cells among them."""

import numpy as np

from lpdseg.data.synthetic.noise import Field, direction, sampled_noise, slope
from lpdseg.data.synthetic.scene import Scene


class Flow:
    """A direction that varies slowly over the canvas.

    **Arguments:** `bend`: how far the direction turns, about 0 (straight) to 1 (whorls).
    """

    def __init__(self, scene: Scene, bend: float = 0.35) -> None:
        x, y = scene.grid()
        cosine, sine = direction(scene.rng.random(1, dtype=np.float32))
        self.across: Field = (
            y * cosine[0] - x * sine[0] + 24 * bend * scene.noise(30.0) + 4 * bend * scene.noise(9.0)
        )
        self.length: Field = x * cosine[0] + y * sine[0] + 8 * scene.noise(40.0)
        up_x, up_y = slope(self.across)
        self.along: tuple[Field, Field] = (-up_y, up_x)
        """Unit vectors (x, y) along the fibres."""

    def strands(self, scene: Scene, length: float, width: float) -> Field:
        """Fibres of a length and width in microns; about -1..1."""
        shift = scene.rng.random(2, dtype=np.float32) * 64
        return sampled_noise(scene.rng, self.length / length + shift[0], self.across / width + shift[1])

    def clefts(self, scene: Scene, length: float, width: float, share: float) -> Field:
        """Thin gaps between fibres, 0..1; the larger `share` (0..1), the more and the wider."""
        ridge = 1 - np.abs(self.strands(scene, length, width)) * 6
        gate = np.clip(scene.noise(14.0) - 1.6 + 3 * share, 0, 1)
        return np.asarray(np.clip(ridge, 0, 1) * gate, np.float32)

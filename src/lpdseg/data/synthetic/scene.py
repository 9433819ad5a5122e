"""The canvas a patch is painted on: densities of the two dyes, and which places are taken."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from lpdseg.data.synthetic.noise import Field, Mask, smooth_noise
from lpdseg.data.synthetic.patient import Patient


@dataclass
class Scene:
    """A canvas with its random numbers.

    **Arguments:** `shape`: pixels; `mpp`: microns per pixel.
    """

    rng: np.random.Generator
    patient: Patient
    shape: tuple[int, int]
    mpp: float
    taken: Mask = field(init=False)
    chromatin: Field = field(init=False)

    def __post_init__(self) -> None:
        self.taken = np.zeros(self.shape, bool)
        self.chromatin = 0.7 * self.noise(0.8) + 0.7 * self.noise(1.6)

    def px(self, microns: float) -> float:
        """Microns → pixels."""
        return microns / self.mpp

    def noise(self, microns: float) -> Field:
        """Smooth noise, mean 0 and standard deviation 1, whose lattice has this spacing (at least a pixel)."""
        return smooth_noise(self.rng, self.shape, max(self.px(microns), 1.0))

    def grid(self) -> tuple[Field, Field]:
        """Coordinates x and y of every pixel in microns."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        return x * np.float32(self.mpp), y * np.float32(self.mpp)

    def chance(self, odds: float) -> bool:
        """True in a share `odds` of calls."""
        return float(self.rng.random()) < odds


@dataclass(frozen=True)
class Ground:
    """What lies between the nuclei: densities of haematoxylin and eosin over the whole canvas."""

    h: Field
    e: Field


def depth(scene: Scene, inside: Mask) -> Field:
    """Distance of each inner pixel from the nearest outer one in microns; large where there is none."""
    if inside.all():
        return np.full(inside.shape, 1e3, np.float32)
    return np.asarray(ndimage.distance_transform_edt(inside) * scene.mpp, np.float32)

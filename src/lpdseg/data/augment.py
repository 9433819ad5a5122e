"""Random variation of training patches: flips, 90° rotations, and the strength of the two stains.

Each draw depends on a generator that the caller seeds per patch and epoch, never on hidden state, so that a
resumed run and a run on more processes see the same patches.
"""

import numpy as np
from jaxtyping import Float, Shaped, UInt8

# Optical densities (base e) of haematoxylin, eosin and a residual in red, green and blue: Ruifrok & Johnston 2001.
_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIXED = np.linalg.inv(_STAINS)

DENSITIES = (-np.log(np.maximum(np.arange(256), 1) / 255.0)).astype(np.float32)
"""Of each value of a pixel."""


def draw_orientation(rng: np.random.Generator) -> int:
    """One of the eight flips and 90° rotations, by the number that `turned` takes."""
    turns = int(rng.integers(4))
    return 2 * turns + int(rng.integers(2))


def orientations(size: tuple[int, int]) -> int:
    """How many of them a patch of (H, W) has: 8, or 4 where it is oblong."""
    return 8 if size[0] == size[1] else 4


def orientation(number: int, size: tuple[int, int]) -> int:
    """One of those that a patch has, from 0, which is the image as it is, by the number that `turned` takes."""
    return number if orientations(size) == 8 else 2 * number - number % 2


def turned(image: Shaped[np.ndarray, "H W *n"], number: int) -> Shaped[np.ndarray, "h w *n"]:
    """Turned by `number // 2` times 90°, then mirrored where it is odd; oblong patches by 180° or not at all."""
    turns = number // 2 if image.shape[0] == image.shape[1] else number // 2 & 2
    image = np.rot90(image, turns)
    return image[:, ::-1] if number % 2 else image


def draw_stains(spread: float, rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """The map of densities that multiplies each stain's by exp(spread · n), n standard normal.

    Unmixing, scaling and mixing are one linear map of the densities, so a pale or white patch is as safe as any.
    """
    factors = np.exp(spread * rng.standard_normal(3))
    stains: np.ndarray = _UNMIXED @ np.diag(factors) @ _STAINS
    return stains


def apply_density_map(
    image: UInt8[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "3 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """RGB → densities → `densities @ matrix` → RGB (Beer–Lambert, white point 255)."""
    density = DENSITIES[image] @ matrix.astype(np.float32)
    # A negative density would be brighter than white, and a large one overflows.
    mixed: np.ndarray = np.rint(255.0 * np.exp(-np.maximum(density, 0))).astype(np.uint8)
    return mixed

"""Random variation of training patches: flips, 90° rotations, and the strength of the two stains.

Each draw depends on a generator that the caller seeds per patch and epoch, never on hidden state, so that a
resumed run and a run on more processes see the same patches.
"""

import numpy as np
from jaxtyping import Float, UInt8

# Optical densities (base e) of haematoxylin, eosin and a residual in red, green and blue: Ruifrok & Johnston 2001.
_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)


def random_orientation(image: UInt8[np.ndarray, "H W n"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w n"]:
    """One of the eight flips and 90° rotations; oblong patches are only flipped and turned by 180°."""
    turns = int(rng.integers(4))
    if image.shape[0] != image.shape[1]:
        turns &= 2
    return _turned(image, turns, bool(rng.integers(2)))


def orientations(size: tuple[int, int]) -> int:
    """How many of them a patch of (H, W) has: 8, or 4 where it is oblong."""
    return 8 if size[0] == size[1] else 4


def orientation(image: UInt8[np.ndarray, "H W n"], number: int) -> UInt8[np.ndarray, "h w n"]:
    """One of them by number, from 0, which is the image as it is."""
    turns, mirrored = number // 2, bool(number % 2)
    return _turned(image, turns if image.shape[0] == image.shape[1] else 2 * turns, mirrored)


def _turned(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    image = np.rot90(image, turns)
    return image[:, ::-1] if mirrored else image


def stain_jitter(
    image: UInt8[np.ndarray, "H W 3"], spread: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Multiplies each stain's density by exp(spread · n), n standard normal.

    Unmixing, scaling and mixing are one linear map of the densities, so a pale or white patch is as safe as any.
    """
    factors = np.exp(spread * rng.standard_normal(3))
    return apply_density_map(image, np.linalg.inv(_STAINS) @ np.diag(factors) @ _STAINS)


def apply_density_map(
    image: UInt8[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "3 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """RGB → densities → `densities @ matrix` → RGB (Beer–Lambert, white point 255)."""
    table = -np.log(np.maximum(np.arange(256), 1) / 255.0)
    density = table.astype(np.float32)[image] @ matrix.astype(np.float32)
    # A negative density would be brighter than white, and a large one overflows.
    mixed: np.ndarray = np.rint(255.0 * np.exp(-np.maximum(density, 0))).astype(np.uint8)
    return mixed

"""Patches of two classes that are told apart by their colour."""

import numpy as np

_COLOURS = np.array([[230, 120, 170], [80, 70, 160]])


def draw(number: int, rng: np.random.Generator, side: int = 32, border: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """RGB and mask of a patch: by turns blue, pink, and pink up to a border."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, (0, side, border)[number % 3] :] = 1
    pixels = _COLOURS[mask] + rng.integers(-20, 20, (side, side, 3))
    return pixels.clip(0, 255).astype(np.uint8), mask

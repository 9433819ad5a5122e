"""Slides on disk that a small run can segment in a second."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

PINK, BLUE = (230, 120, 170), (80, 70, 160)


@pytest.fixture
def draw_slide(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiled TIFF of 0.5 microns per pixel: a pink and blue block of 160 x 120 px on glass."""

    def draw(name: str, *, seed: int = 0, tissue: bool = True, mpp: float | None = 0.5) -> Path:
        pixels = np.full((190, 250, 3), 245, np.uint8)
        if tissue:
            noise = np.random.default_rng(seed).integers(-20, 20, (120, 160, 3))
            pixels[40:160, 50:210] = np.where(np.arange(160)[None, :, None] < 70, PINK, BLUE) + noise
        path = tmp_path / "slides" / name
        path.parent.mkdir(exist_ok=True)
        resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), compression="deflate", **resolution)
        return path

    return draw

"""Slides of any size, drawn onto disk tile by tile: generated tissue along the diagonal, glass elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from lpdseg.data.synthetic.patch import generate_patch

MPP = 0.5
BLOCK = 1024
"""Side in pixels of a square of tissue; the diagonal touches every row and column of windows."""

_TILE, _STEP, _GLASS, _LAST = 512, 4, 245, 1024


def draw_slide(path: Path, side: int, full: bool = False) -> None:
    """Writes a pyramidal TIFF of `side` x `side` pixels, each level a quarter as wide as the one before.

    `full`: tissue everywhere.
    """
    patches = [
        generate_patch(seed=0, split="test", patient=n, number=0, size=BLOCK // 4, mpp=MPP).image for n in range(4)
    ]
    block = np.tile(np.block([[[patches[0]], [patches[1]]], [[patches[2]], [patches[3]]]]), (2, 2, 1))
    resolution, factor = 1e4 / MPP, 1
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        while True:
            level = side // factor
            writer.write(
                _tiles(block, level, factor, full),
                shape=(level, level, 3),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                subfiletype=0 if factor == 1 else 1,
                resolution=(resolution / factor, resolution / factor),
                resolutionunit="CENTIMETER",
            )
            factor *= _STEP
            if level <= _LAST:
                return


def _tiles(block: np.ndarray, level: int, factor: int, full: bool) -> Iterator[np.ndarray]:
    small = BLOCK // factor
    reduced = np.asarray(Image.fromarray(block).resize((small, small), Image.Resampling.BOX))
    glass = np.full((_TILE, _TILE, 3), _GLASS, np.uint8)
    for top in range(0, level, _TILE):
        rows = np.arange(top, top + _TILE)
        for left in range(0, level, _TILE):
            columns = np.arange(left, left + _TILE)
            tissue = ((rows // small)[:, None] == columns // small) | full
            if tissue.any():
                yield np.where(tissue[..., None], reduced[np.ix_(rows % small, columns % small)], _GLASS).astype(
                    np.uint8
                )
            else:
                yield glass

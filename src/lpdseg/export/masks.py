"""Segmentations as files that other programs open: probabilities, uncertainty, overlays.

H x W pixels; n channels, background last. Masks have values as on disk.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lpdseg.files import replacing
from lpdseg.pictures.masks import overlay_picture
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.uncertainty import Uncertainty
from lpdseg.tissue import TissueClasses


def write_probabilities(path: Path, segmentation: Segmentation) -> None:
    """Writes a compressed npz: `probabilities` (float16, n x H x W), `scores` (float16, C x H x W) and `classes`,
    the names of the n channels. `scores` are per class in 0..1, before gate and refinement.

    **Raises:** `OutputError` where the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=segmentation.probabilities.astype(np.float16),
            scores=segmentation.scores.astype(np.float16),
            classes=np.array(segmentation.channels),
        )


def write_uncertainty(path: Path, uncertainty: Uncertainty) -> None:
    """Writes `Uncertainty.grey` as a grey PNG of 8 bits.

    **Raises:** `OutputError` where the file cannot be written.
    """
    with replacing(path) as temporary:
        Image.fromarray(uncertainty.grey).save(temporary, format="PNG")


def write_overlay(
    path: Path, image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], classes: TissueClasses
) -> None:
    """Writes the image under its mask, tinted and outlined, with a legend of area shares below.

    **Raises:** `OutputError` where the file cannot be written.
    """
    picture = overlay_picture(image, mask, classes)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")

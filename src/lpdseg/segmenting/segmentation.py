"""One segmented image: what a person gets.

C classes, n = C or C + 1 channels (background last), H x W pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image

from lpdseg.errors import DataError
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.pictures.html import classes_html, picture_html
from lpdseg.pictures.masks import area_shares, overlay_picture, write_mask
from lpdseg.segmenting.uncertainty import Uncertainty
from lpdseg.tissue import TissueClasses

_SHOWN = 512
"""Side in pixels that a mask has at most in a notebook."""


@dataclass(frozen=True, repr=False, eq=False)
class Segmentation:
    """One image, segmented, as numpy arrays.

    - `mask`: values as on disk for these classes.
    - `probabilities`: channel order is `channels`.
    - `scores`: per class in [0, 1].
    - `image_probabilities`: that each class is in the image.
    - `classes`: whose names, colours and mask values these are.
    - `prototypes`: of each pixel the index of the winner among the prototypes of its class, the same for as long as
      the run lives; 65535 on background. None where no prototypes make the mask, or they were not asked for.
    - `prototype_names`: by index, such as `TUM 3`; none where no prototypes make the mask.
    - `uncertainty`: how sure the mask is of each pixel, before refinement; None where it was not asked for.
    """

    mask: UInt8[np.ndarray, "H W"]
    probabilities: Float[np.ndarray, "n H W"]
    scores: Float[np.ndarray, "C H W"]
    image_probabilities: Float[np.ndarray, " C"]
    classes: TissueClasses
    prototypes: UInt16[np.ndarray, "H W"] | None = None
    prototype_names: tuple[str, ...] = ()
    uncertainty: Uncertainty | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of `probabilities`, see `Segmenter.channel_names`."""
        return self.classes.channel_names[: len(self.probabilities)]  # background, where it is found, is the last

    @property
    def shares(self) -> dict[str, float]:
        """The share of the image's pixels that each class has, background included, in 0..1."""
        return area_shares(self.mask, self.classes)

    @property
    def prototype_shares(self) -> dict[str, float]:
        """The share of the image's pixels that each prototype has, by name, in 0..1; empty without `prototypes`."""
        if self.prototypes is None:
            return {}
        counts = np.bincount(self.prototypes.ravel(), minlength=NO_PROTOTYPE + 1) / self.prototypes.size
        shares = dict.fromkeys(self.prototype_names, 0.0)
        for index, name in enumerate(self.prototype_names):
            shares[name] += float(counts[index])
        return shares

    @property
    def unsure_share(self) -> float | None:
        """The share of tissue that is unsure, in 0..1; None without `uncertainty`, and where there is no tissue."""
        value = self.classes.background
        tissue = np.ones(self.mask.shape, bool) if value is None else self.mask != value
        if self.uncertainty is None or not tissue.any():
            return None
        return float(self.uncertainty.unsure[tissue].mean())

    def overlay(
        self, image: UInt8[np.ndarray, "H W 3"] | Image.Image, opacity: float = 0.3, mpp: float | None = None
    ) -> Image.Image:
        """The image under its mask, tinted and outlined, with a legend of area shares below: an RGB picture.

        **Arguments:**

        - `image`: what was segmented, as an 8-bit RGB array or a Pillow image.
        - `opacity`: of the tint, in 0..1.
        - `mpp`: microns per pixel of the image; where it is given there is a scale bar.

        **Raises:** `DataError` for an image of another kind or size.
        """
        pixels = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else rgb_array(image, "overlay")
        if pixels.shape[:2] != self.mask.shape:
            shown, own = (f"{width} x {height}" for height, width in (pixels.shape[:2], self.mask.shape))
            raise DataError(f"the image is {shown} pixels, but this mask {own}; give the image that was segmented")
        return overlay_picture(pixels, self.mask, self.classes, opacity, mpp)

    def save(self, path: str | Path) -> None:
        """Writes the mask as an 8-bit palette PNG, whole or not at all; pixel values are those of `mask`.

        **Raises:** `OutputError` where the file cannot be written.
        """
        write_mask(Path(path), self.mask, self.classes)

    def _repr_html_(self) -> str:
        """The mask and the area of each class, for notebooks."""
        picture = Image.fromarray(self.mask)
        picture.thumbnail((_SHOWN, _SHOWN), Image.Resampling.NEAREST)
        picture.putpalette(self.classes.palette().tobytes())
        areas = classes_html("share of the image", self.classes, self.shares.values(), ".1%")
        mask = picture_html(picture, repr(self), max(picture.width, _SHOWN // 2))
        look = "display:flex;gap:1em;align-items:flex-start;flex-wrap:wrap"
        return f'<div style="{look}">{mask}<div>{areas}</div></div>'

    def __repr__(self) -> str:
        height, width = self.mask.shape
        found = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items() if share)
        return f"Segmentation({width} x {height} px: {found})"


def rgb_array(image: object, verb: str) -> UInt8[np.ndarray, "H W 3"]:
    """The image, once it is sure that it is an 8-bit RGB array."""
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and 0 not in image.shape:
            return image
        got = f"{image.dtype} of shape {image.shape}"
    else:
        got = type(image).__name__
    raise DataError(f"{verb} needs an 8-bit RGB array, H x W x 3; got {got}")

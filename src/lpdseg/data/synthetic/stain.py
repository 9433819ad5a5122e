"""Haematoxylin and eosin: from the density of two dyes to the colours of a scanned slide, and back.

Beer–Lambert: intensity I_c = I0_c · exp(−(h·H_c + e·E_c)), where h and e are dye densities per pixel and H, E the
unit absorption vectors of the two dyes over red, green, blue (Ruifrok and Johnston, Anal Quant Cytol Histol 2001).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from lpdseg.data.synthetic.noise import Field, between, smooth_noise

_STEPS = 512  # optical density is rounded to 1/512 before the exponential, so that machines agree
_DARKEST = 6.0
_TRANSMITTED = np.array([round(math.exp(-i / _STEPS), 7) for i in range(int(_DARKEST * _STEPS) + 1)], np.float32)

# Absorption measured on single-stained slides (Ruifrok and Johnston), and on a warmer, greyer laboratory's
# (Macenko et al., ISBI 2009). Patients lie between.
_COOL = ((0.650, 0.704, 0.286), (0.092, 0.954, 0.283))
_WARM = ((0.563, 0.720, 0.406), (0.165, 0.880, 0.445))

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Stain:
    """How one slide was stained and scanned.

    **Arguments:**

    - `haematoxylin`, `eosin`: unit absorption vectors over red, green, blue.
    - `strength`: factors on the two dye densities.
    - `white`: intensity of empty glass, 0..255 per channel.
    - `blur`: share of the 3 x 3 binomial blur in the image, 0..1.
    - `grain`: half width of the sensor noise in grey levels.
    - `shade`: strength of uneven light, a fraction of `white`.
    """

    haematoxylin: Triple
    eosin: Triple
    strength: tuple[float, float] = (1.0, 1.0)
    white: Triple = (245.0, 243.0, 246.0)
    blur: float = 0.0
    grain: float = 0.0
    shade: float = 0.0


def draw_stain(rng: np.random.Generator) -> Stain:
    """A stain as it varies between patients: laboratory, dye strength, scanner."""
    mix = between(rng, 0.0, 1.0)
    vectors = [
        _unit([c + (w - c) * mix + between(rng, -0.03, 0.03) for c, w in zip(cool, warm, strict=True)])
        for cool, warm in zip(_COOL, _WARM, strict=True)
    ]
    level = between(rng, 238.0, 250.0)
    return Stain(
        haematoxylin=vectors[0],
        eosin=vectors[1],
        strength=(between(rng, 0.75, 1.25), between(rng, 0.65, 1.3)),
        white=(
            level + between(rng, -3.0, 3.0),
            level - 1 + between(rng, -3.0, 3.0),
            level + between(rng, -3.0, 4.0),
        ),
        blur=between(rng, 0.25, 0.9),
        grain=between(rng, 2.0, 5.0),
        shade=between(rng, 0.0, 0.03),
    )


def _unit(vector: list[float]) -> Triple:
    length = math.sqrt(math.fsum(x * x for x in vector))
    return vector[0] / length, vector[1] / length, vector[2] / length


def stained(
    haematoxylin: Field, eosin: Field, stain: Stain, rng: np.random.Generator | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Dye densities, natural logarithm units >= 0, → RGB. Without `rng` there is no sensor noise and no shade."""
    image = np.empty((*haematoxylin.shape, 3), np.uint8)
    h, e = haematoxylin * stain.strength[0], eosin * stain.strength[1]
    light = np.float32(1) if rng is None else 1 + stain.shade * smooth_noise(rng, h.shape, 0.6 * max(h.shape))
    for channel in range(3):
        density = h * stain.haematoxylin[channel] + e * stain.eosin[channel]
        step = np.floor(np.clip(density, 0, _DARKEST) * _STEPS + 0.5).astype(np.int64)
        intensity = stain.white[channel] * _TRANSMITTED[step] * light
        intensity = intensity + stain.blur * (_binomial(intensity) - intensity)
        if rng is not None:
            noise = rng.random((2, *h.shape), dtype=np.float32)
            intensity = intensity + stain.grain * (noise[0] + noise[1] - 1)
        image[..., channel] = np.floor(np.clip(intensity, 0, 255) + 0.5)
    return image


def _binomial(field: Field) -> Field:
    padded = np.pad(field, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16, np.float32)


def densities(
    image: UInt8[np.ndarray, "H W 3"], stain: Stain
) -> tuple[Float64[np.ndarray, "H W"], Float64[np.ndarray, "H W"]]:
    """RGB → densities of haematoxylin and eosin by least squares: the inverse of `stained`, up to rounding."""
    depth = -np.log(np.maximum(image, 1) / np.array(stain.white))
    h, e = np.array(stain.haematoxylin), np.array(stain.eosin)
    overlap = float((h * e).sum())
    along_h, along_e = (depth * h).sum(-1), (depth * e).sum(-1)
    scale = 1 - overlap * overlap
    return (
        (along_h - overlap * along_e) / scale / stain.strength[0],
        (along_e - overlap * along_h) / scale / stain.strength[1],
    )

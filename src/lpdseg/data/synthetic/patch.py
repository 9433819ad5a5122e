"""One patch: lay out the tissues, paint each, join them, stain."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from lpdseg.data.records import SPLITS
from lpdseg.data.synthetic import lymphoid, necrosis, stroma, tumour, voids
from lpdseg.data.synthetic.layout import draw_layout
from lpdseg.data.synthetic.noise import Mask, between, generator, softened
from lpdseg.data.synthetic.nuclei import Tissue
from lpdseg.data.synthetic.painting import paint
from lpdseg.data.synthetic.patient import Patient, draw_patient
from lpdseg.data.synthetic.scene import Ground, Scene, depth
from lpdseg.data.synthetic.stain import stained
from lpdseg.data.synthetic.subtypes import BACKGROUND, STROMA, SUBTYPES, TUMOUR
from lpdseg.errors import SettingsError

SMALLEST, LARGEST = 56, 512
_MPP_RANGE = (0.2, 1.0)
_MARGIN = 12.0  # microns painted around the patch, so that its edge cuts cells as a crop does
_SHARP, _LOOSE = 0.8, 2.6  # microns over which the grounds of neighbours mix
_SHORE = 0.8  # microns of tissue beside background that nuclei keep clear of
_PATCH_STREAM = 2

_PAINTERS: dict[str, Callable[[Scene, Mask], Tissue]] = {
    "solid": tumour.solid,
    "glandular": tumour.glandular,
    "cribriform": tumour.cribriform,
    "spindle": tumour.spindle,
    "collagenous": stroma.collagenous,
    "desmoplastic": stroma.desmoplastic,
    "myxoid": stroma.myxoid,
    "dense-lymphocytes": lymphoid.dense,
    "diffuse-infiltrate": lymphoid.diffuse,
    "plasma-cells": lymphoid.plasma_cells,
    "coagulative": necrosis.coagulative,
    "karyorrhectic": necrosis.karyorrhectic,
    "liquefactive": necrosis.liquefactive,
    "glass": voids.glass,
    "fat": voids.fat,
    "tear": voids.tear,
}

_TISSUE_OF = np.array([subtype.tissue for subtype in SUBTYPES], np.uint8)


@dataclass(frozen=True)
class SyntheticPatch:
    """A generated patch.

    **Arguments:**

    - `image`: RGB, 0..255.
    - `mask`: class index of every pixel, background last (`CLASSES` of the package).
    - `subtypes`: index into `SUBTYPES` of every pixel; for evaluation only.
    - `labels`: 1 for each class that the mask holds, else 0, without background.
    - `patient`: the patient's name.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt8[np.ndarray, "H W"]
    subtypes: UInt8[np.ndarray, "H W"]
    labels: tuple[int, ...]
    patient: str


def generate_patch(
    *, seed: int = 0, split: str = "train", patient: int = 0, number: int = 0, size: int = 224, mpp: float = 0.5
) -> SyntheticPatch:
    """Paints patch `number` of a patient; the same arguments give the same bytes on any machine.

    **Arguments:**

    - `seed`, `patient`, `number`: 0 or more.
    - `split`: `train`, `valid` or `test`; patients of different splits differ.
    - `size`: height and width in pixels, 56..512.
    - `mpp`: microns per pixel, 0.2..1.0.

    **Raises:** `SettingsError` for arguments outside these ranges.
    """
    check_arguments(seed=seed, size=size, mpp=mpp)
    if split not in SPLITS:
        raise SettingsError(f"no split {split!r}; use {', '.join(SPLITS)}")
    if patient < 0 or number < 0:
        raise SettingsError(f"patient and number count from 0; got {patient} and {number}")
    rng = generator(_PATCH_STREAM, seed, SPLITS.index(split), patient, number)
    person = draw_patient(seed, split, patient)
    margin = int(_MARGIN / mpp)
    layout = draw_layout(rng, person, size, margin, mpp)
    ground = _painted(rng, person, layout, mpp)
    inner = slice(margin, margin + size)
    image = stained(ground.h[inner, inner], ground.e[inner, inner], person.stain, rng)
    subtypes = layout[inner, inner].copy()
    mask = _TISSUE_OF[subtypes]
    shown = np.bincount(mask.ravel(), minlength=BACKGROUND + 1)
    labels = tuple(int(shown[tissue] > 0) for tissue in range(BACKGROUND))
    return SyntheticPatch(image, mask, subtypes, labels, person.name)


def check_arguments(*, seed: int, size: int, mpp: float) -> None:
    """**Raises:** `SettingsError` for a seed, size or scale that cannot be generated."""
    if seed < 0:
        raise SettingsError(f"seed must be 0 or more; got {seed}")
    if not SMALLEST <= size <= LARGEST:
        raise SettingsError(f"size must be {SMALLEST}..{LARGEST} pixels; got {size}")
    if not _MPP_RANGE[0] <= mpp <= _MPP_RANGE[1]:
        raise SettingsError(f"mpp must be {_MPP_RANGE[0]}..{_MPP_RANGE[1]} microns per pixel; got {mpp}")


def _painted(rng: np.random.Generator, patient: Patient, layout: UInt8[np.ndarray, "H W"], mpp: float) -> Ground:
    """Paints every sub-type of the layout, joins their grounds softly, then lays the nuclei over the joints."""
    scene = Scene(rng, patient, (layout.shape[0], layout.shape[1]), mpp)
    tissues = _TISSUE_OF[layout]
    void = tissues == BACKGROUND
    scene.taken |= ~void & (depth(scene, ~void) < _SHORE)
    present = [index for index in range(len(SUBTYPES)) if (layout == index).any()]
    painted = [_PAINTERS[SUBTYPES[index].name](scene, layout == index) for index in present]
    ground = _joined(scene, layout, present, [tissue.ground for tissue in painted])
    _shrink_from_stroma(scene, ground, tissues)
    for tissue in painted:
        for bodies in tissue.bodies:
            paint(scene, ground, bodies)
    # Sections are never of one thickness, and dyes never quite even.
    section = np.maximum(1 + 0.08 * scene.noise(45.0) + 0.07 * scene.noise(0.8) + 0.04 * scene.noise(2.0), 0)
    return Ground(np.maximum(ground.h, 0) * section, np.maximum(ground.e, 0) * section)


def _joined(scene: Scene, layout: UInt8[np.ndarray, "H W"], present: list[int], grounds: list[Ground]) -> Ground:
    """Mixes grounds by soft shares: tumour and background end sharply, the others run into one another."""
    sharp, loose = int(scene.px(_SHARP)), int(scene.px(_LOOSE))
    void = softened(_TISSUE_OF[layout] == BACKGROUND, sharp)
    h, e, total = (np.zeros(layout.shape, np.float32) for _ in range(3))
    for index, ground in zip(present, grounds, strict=True):
        tissue = SUBTYPES[index].tissue
        share = softened(layout == index, sharp if tissue in (TUMOUR, BACKGROUND) else loose)
        if tissue != BACKGROUND:
            share = share * (1 - void) + np.float32(1e-6) * (layout == index)
        # One patch's collagen is denser than another's: colour alone shall not tell the tissue.
        weight_h, weight_e = between(scene.rng, 0.8, 1.25), between(scene.rng, 0.8, 1.2)
        h, e, total = h + share * weight_h * ground.h, e + share * weight_e * ground.e, total + share
    return Ground(h / total, e / total)


def _shrink_from_stroma(scene: Scene, ground: Ground, tissues: UInt8[np.ndarray, "H W"]) -> None:
    """Clefts that fixation leaves around tumour nests: narrow empty bands on the stroma's side, here and there."""
    strength, gate = scene.patient.cleft, scene.noise(18.0)
    if strength == 0 or not ((tissues == TUMOUR).any() and (tissues == STROMA).any()):
        return
    away = depth(scene, tissues != TUMOUR)
    width = np.clip(3.5 * strength * (gate + 0.4 * strength), 0, 3.5)
    cleft = np.clip((width - away) / 0.8, 0, 1) * (tissues == STROMA) * 0.92
    np.multiply(ground.h, 1 - cleft, out=ground.h)
    np.multiply(ground.e, 1 - cleft, out=ground.e)

"""Where the tissues of a patch lie: which occur together, how much of each, and the course of their borders."""

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from lpdseg.data.synthetic.noise import Field, Mask, between, direction, pick, smooth_noise
from lpdseg.data.synthetic.patient import Patient
from lpdseg.data.synthetic.subtypes import (
    BACKGROUND,
    LYMPHOID,
    NECROSIS,
    STROMA,
    SUBTYPES,
    TUMOUR,
    of_tissue,
)

LEAST_SHARE = 0.02
"""A tissue that covers less of a patch than this is given to its neighbours, so labels and masks agree."""

_BACKGROUND_ODDS = 0.28
_SECOND_SUBTYPE_ODDS = 0.2
_FINEST, _GLANDS, _BROADEST = 18.0, 34.0, 55.0  # lattice of borders in microns; glands need room
_SMALLEST_ISLAND = 500.0  # square microns

# How often tissues share a patch: stroma and tumour nearly everywhere, necrosis seldom, as in breast cancer.
_TOGETHER: tuple[tuple[tuple[int, ...], float], ...] = (
    ((TUMOUR,), 0.12),
    ((STROMA,), 0.10),
    ((LYMPHOID,), 0.02),
    ((NECROSIS,), 0.02),
    ((TUMOUR, STROMA), 0.31),
    ((LYMPHOID, STROMA), 0.10),
    ((TUMOUR, LYMPHOID), 0.03),
    ((TUMOUR, NECROSIS), 0.04),
    ((NECROSIS, STROMA), 0.02),
    ((TUMOUR, LYMPHOID, STROMA), 0.15),
    ((TUMOUR, NECROSIS, STROMA), 0.05),
    ((LYMPHOID, NECROSIS, STROMA), 0.01),
    ((TUMOUR, LYMPHOID, NECROSIS), 0.01),
    ((TUMOUR, LYMPHOID, NECROSIS, STROMA), 0.02),
)

Map = UInt8[np.ndarray, "H W"]


def draw_layout(rng: np.random.Generator, patient: Patient, size: int, margin: int, mpp: float) -> Map:
    """Sub-type of every pixel, on a canvas of `size` pixels with a margin around the patch.

    Inside the margin each tissue, and background, covers at least `LEAST_SHARE` or nothing.
    """
    canvas = (size + 2 * margin, size + 2 * margin)
    patch = (slice(margin, margin + size), slice(margin, margin + size))
    face = {tissue: _draw_face(rng, patient, tissue) for tissue in range(BACKGROUND + 1)}
    tissues = list(_TOGETHER[pick(rng, tuple(weight for _, weight in _TOGETHER))][0])
    shares = [between(rng, 0.25, 1.0) for _ in tissues]
    total = sum(shares)

    # The last tissue of a set fills what the others leave.
    layout = np.full(canvas, tissues[-1], np.uint8)
    free = np.ones(canvas, bool)
    if rng.random() < _BACKGROUND_ODDS:
        chosen = _upper(_background_field(rng, canvas, mpp, face[BACKGROUND]), free, patch, between(rng, 0.05, 0.4))
        layout[chosen], free = BACKGROUND, free & ~chosen
    for tissue, share in zip(tissues[:-1], shares[:-1], strict=True):
        finest = _GLANDS if SUBTYPES[face[tissue]].name in ("glandular", "cribriform") else _FINEST
        chosen = _upper(_blobs(rng, canvas, between(rng, finest, _BROADEST) / mpp), free, patch, share / total)
        total -= share
        layout[chosen], free = tissue, free & ~chosen

    layout = _without_islands(layout, min(_SMALLEST_ISLAND / mpp**2, LEAST_SHARE * size * size))
    layout = _without_slivers(layout, patch)
    return _faces(rng, patient, layout, patch, face, mpp)


def _draw_face(rng: np.random.Generator, patient: Patient, tissue: int) -> int:
    indices = of_tissue(tissue)
    return indices[pick(rng, tuple(patient.leaning[index] for index in indices))]


def _blobs(rng: np.random.Generator, canvas: tuple[int, int], scale: float) -> Field:
    """A field whose upper part has organic outlines: broad shapes, lobes on them, a fine wobble."""
    broad, lobes, wobble = (smooth_noise(rng, canvas, max(scale / part, 1.0)) for part in (1, 3, 8))
    return np.asarray(broad + 0.3 * lobes + 0.08 * wobble, np.float32)


def _background_field(rng: np.random.Generator, canvas: tuple[int, int], mpp: float, face: int) -> Field:
    name = SUBTYPES[face].name
    if name == "fat":
        return _blobs(rng, canvas, 45 / mpp)
    y, x = np.mgrid[: canvas[0], : canvas[1]].astype(np.float32)
    cosine, sine = direction(rng.random(1, dtype=np.float32))
    across = (x * cosine[0] + y * sine[0]) * mpp / 20
    if name == "glass":
        return np.asarray(across + 0.5 * _blobs(rng, canvas, 18 / mpp), np.float32)
    centre = float(across[canvas[0] // 2, canvas[1] // 2]) + between(rng, -1.0, 1.0)
    bow = across - centre + 0.5 * smooth_noise(rng, canvas, 25 / mpp)
    return np.asarray(0.12 * _blobs(rng, canvas, 9 / mpp) - np.abs(bow), np.float32)


def _upper(field: Field, free: Mask, patch: tuple[slice, slice], share: float) -> Mask:
    """The free pixels with the highest values: `share` of those that the patch shows."""
    visible = np.sort(field[patch][free[patch]])
    if visible.size == 0:
        return np.zeros_like(free)
    return np.asarray(free & (field >= visible[int((1 - share) * (visible.size - 1))]))


def _without_islands(layout: Map, smallest: float) -> Map:
    """Gives connected areas below `smallest` pixels to what lies around them."""
    small = np.zeros(layout.shape, bool)
    for tissue in range(BACKGROUND + 1):
        areas, count = ndimage.label(layout == tissue)
        if count:
            sizes = np.bincount(areas.ravel(), minlength=count + 1)
            sizes[0] = layout.size
            small |= sizes[areas] < smallest
    return _filled(layout, small)


def _without_slivers(layout: Map, patch: tuple[slice, slice]) -> Map:
    """Removes tissues below `LEAST_SHARE` of the patch, rarest first, until none is left."""
    while True:
        counts = np.bincount(layout[patch].ravel(), minlength=BACKGROUND + 1)
        total = int(counts.sum())
        below = [t for t in range(BACKGROUND + 1) if 0 < counts[t] < LEAST_SHARE * total]
        if not below:
            return layout
        layout = _filled(layout, layout == min(below, key=lambda t: int(counts[t])))


def _filled(layout: Map, holes: Mask) -> Map:
    """Every hole takes the value of the nearest pixel that is none."""
    if not holes.any() or holes.all():
        return layout
    rows, columns = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(layout[rows, columns])


def _faces(
    rng: np.random.Generator,
    patient: Patient,
    layout: Map,
    patch: tuple[slice, slice],
    face: dict[int, int],
    mpp: float,
) -> Map:
    """Tissues → sub-types: one each as a rule, sometimes a second one in a part of the tissue."""
    faces = np.zeros_like(layout)
    for tissue in range(BACKGROUND + 1):
        inside = layout == tissue
        faces[inside] = face[tissue]
        other = _draw_face(rng, patient, tissue)
        wanted = rng.random() < _SECOND_SUBTYPE_ODDS
        field = _blobs(rng, layout.shape, 40 / mpp)
        if tissue == BACKGROUND or not wanted or other == face[tissue]:
            continue
        part = _upper(field, inside, patch, between(rng, 0.3, 0.7))
        shown = int((part & inside)[patch].sum()), int((inside & ~part)[patch].sum())
        if min(shown) >= LEAST_SHARE * layout[patch].size:
            faces[part] = other
    return faces

"""What is asked of a run of slides, once everything that may be left out is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.errors import SettingsError
from lpdseg.segmenting.bundle import TrainedOn
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.slides.mpp import COARSEST_MPP, FINEST_MPP
from lpdseg.slides.slide import Bounds, Mpp

DEFAULT_OVERLAP = 0.5
"""Share of a window that neighbours share. At a half no window's edge counts anywhere; at a quarter it takes 2.25
times fewer windows."""

_SMALLEST, _LARGEST = 16, 8192
"""Sides of a window in pixels."""


@dataclass(frozen=True)
class Wanted:
    """How slides are segmented, and what becomes of them.

    - `kinds`: see `lpdseg.workflows.slides.layout.KINDS`.
    - `mpp`: microns per pixel at which the model sees the slides.
    - `window`, `overlap`: in pixels.
    - `batch`: windows that are computed at once.
    - `simplify_um`, `minimum_um2`: of GeoJSON, see `write_geojson`.
    - `from_bounds`: coordinates of GeoJSON count from the corner of what was scanned, and not of level 0.
    """

    kinds: tuple[str, ...]
    mpp: float
    window: int
    overlap: int
    batch: int
    simplify_um: float = 0.0
    minimum_um2: float = 0.0
    from_bounds: bool = True

    def options(self, bounds: Bounds | None) -> dict[str, dict[str, Any]]:
        """For each kind what it alone depends on; `bounds` are those of the slide."""
        offset = [bounds.x, bounds.y] if self.from_bounds and bounds is not None else [0, 0]
        geojson = {"simplify_um": self.simplify_um, "minimum_um2": self.minimum_um2, "offset": offset}
        return {kind: geojson if kind.startswith("geojson") else {} for kind in self.kinds}

    def settings(self, segmenter: Segmenter, weights: str, mpp: Mpp) -> dict[str, Any]:
        """All that a slide's labels depend on. `weights` is the digest of the model's, `mpp` the slide's."""
        predict = segmenter.settings.model_dump(mode="json", exclude={"batch"})
        return {
            "weights_sha256": weights,
            "classes": segmenter.classes.as_dict(),
            "predict": predict,
            "thresholds": segmenter.calibration.thresholds.tolist(),
            "offsets": segmenter.calibration.offsets.tolist(),
            "slide_mpp": [mpp.x, mpp.y],
            "model_mpp": self.mpp,
            "window": self.window,
            "overlap": self.overlap,
        }


def resolve_windows(
    run: Path, trained: TrainedOn, mpp: float | None, window: int | None, overlap: float | None
) -> tuple[float, int, int]:
    """Microns per pixel, side of a window and overlap in pixels: as asked, else as the run was trained.

    **Arguments:**

    - `overlap`: share of a window, in [0, 1).

    **Raises:** `SettingsError` where neither says it, or a figure cannot be used.
    """
    mpp = trained.mpp if mpp is None else mpp
    if mpp is None:
        raise SettingsError(
            f"{run} does not say at how many microns per pixel it was trained, since its data did not; give them "
            "with --model-mpp, for instance --model-mpp 0.5"
        )
    if not FINEST_MPP <= mpp <= COARSEST_MPP:
        raise SettingsError(
            f"a model cannot have been trained at {mpp:g} microns per pixel; give {FINEST_MPP:g} to "
            f"{COARSEST_MPP:g}"
        )
    if window is None:
        if trained.patch is None:
            raise SettingsError(
                f"{run} does not say how large its patches were, since it was trained by an earlier version; give "
                "their side in pixels with --window, for instance --window 224"
            )
        window = min(trained.patch)
    if not _SMALLEST <= window <= _LARGEST:
        raise SettingsError(f"a window of {window} pixels cannot be used; give {_SMALLEST} to {_LARGEST}")
    share = DEFAULT_OVERLAP if overlap is None else overlap
    if not 0 <= share <= 0.9:
        raise SettingsError(f"windows cannot overlap by {share:g} of their side; give 0 to 0.9")
    return mpp, window, round(window * share)


def check_figures(simplify_um: float, minimum_um2: float, mpp: float | None) -> None:
    """Refuses figures that no slide could be read or written with, before the first is computed.

    **Raises:** `SettingsError`.
    """
    figures: Mapping[str, float] = {"--simplify": simplify_um, "--min-area": minimum_um2}
    for name, value in figures.items():
        if not 0 <= value < float("inf"):
            raise SettingsError(f"{name} must be 0 or more; got {value:g}")
    if mpp is not None and not FINEST_MPP <= mpp <= COARSEST_MPP:
        raise SettingsError(
            f"--mpp must be the microns per pixel of a slide, {FINEST_MPP:g} to {COARSEST_MPP:g}; got {mpp:g}"
        )

"""What is asked of a run of slides, once everything that may be left out is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.errors import SettingsError
from lpdseg.segmenting.loading import TrainedOn
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.slides.mpp import COARSEST_MPP, FINEST_MPP
from lpdseg.slides.slide import Bounds, Mpp
from lpdseg.workflows.slides.kinds import KINDS
from lpdseg.workflows.slides.options import SlideOptions

DEFAULT_OVERLAP = 0.5
"""Share of a window that neighbours share. At a half no window's edge counts anywhere; at a quarter it takes 2.25
times fewer windows."""

_SMALLEST, _LARGEST = 16, 8192
"""Sides of a window in pixels."""


@dataclass(frozen=True)
class Wanted:
    """How slides are segmented, and what becomes of them.

    - `kinds`: see `lpdseg.workflows.slides.kinds.KINDS`.
    - `mpp`: microns per pixel at which the model sees the slides.
    - `window`, `overlap`: in pixels.
    - `batch`: windows that are computed at once.
    """

    options: SlideOptions
    kinds: tuple[str, ...]
    mpp: float
    window: int
    overlap: int
    batch: int

    def depends(self, bounds: Bounds | None, how_sure: Mapping[str, float]) -> dict[str, dict[str, Any]]:
        """For each kind what it alone depends on; `bounds` are the slide's, `how_sure` is the segmenter's."""
        of_kind = {kind: KINDS[kind].depends(self.options, bounds) for kind in self.kinds}
        unsure = {kind: dict(how_sure) for kind in self.kinds if KINDS[kind].of == "uncertainty"}
        return {kind: chosen | unsure.get(kind, {}) for kind, chosen in of_kind.items()}

    def settings(self, segmenter: Segmenter, weights: str, computed: Mapping[str, Any], mpp: Mpp) -> dict[str, Any]:
        """All that a slide's labels depend on; what its uncertainty depends on besides, only that output does.

        **Arguments:**

        - `weights`: digest of the model's.
        - `computed`: see `computed_by`.
        - `mpp`: the slide's.
        """
        predict = segmenter.settings.model_dump(mode="json", exclude={"batch", "unsure"})
        return {
            "weights_sha256": weights,
            "edits_sha256": segmenter.edits_sha256,
            **computed,
            "classes": segmenter.classes.as_dict(),
            "predict": predict,
            "thresholds": segmenter.calibration.thresholds.tolist(),
            "offsets": segmenter.calibration.offsets.tolist(),
            "offsets_data": segmenter.calibration.offsets_data,
            "slide_mpp": [mpp.x, mpp.y],
            "model_mpp": self.mpp,
            "window": self.window,
            "overlap": self.overlap,
        }


def resolve_windows(run: Path, trained: TrainedOn, options: SlideOptions) -> tuple[float, int, int]:
    """Microns per pixel, side of a window and overlap in pixels: as asked, else as the run was trained.

    **Raises:** `SettingsError` where neither says it, or a figure cannot be used.
    """
    mpp = trained.mpp if options.model_mpp is None else options.model_mpp
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
    window = options.window
    if window is None:
        if trained.patch is None:
            raise SettingsError(
                f"{run} does not say how large its patches were, since it was trained by an earlier version; give "
                "their side in pixels with --window, for instance --window 224"
            )
        window = min(trained.patch)
    if not _SMALLEST <= window <= _LARGEST:
        raise SettingsError(f"a window of {window} pixels cannot be used; give {_SMALLEST} to {_LARGEST}")
    share = DEFAULT_OVERLAP if options.overlap is None else options.overlap
    if not 0 <= share <= 0.9:
        raise SettingsError(f"windows cannot overlap by {share:g} of their side; give 0 to 0.9")
    return mpp, window, round(window * share)

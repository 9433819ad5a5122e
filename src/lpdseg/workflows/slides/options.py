"""How slides are segmented and what becomes of them: one place for all that a person may choose."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lpdseg.choices import Backend, Gate, Palette, SlideEngine
from lpdseg.errors import SettingsError
from lpdseg.segmenting.edits import Edits
from lpdseg.slides.mpp import COARSEST_MPP, FINEST_MPP

SPECK_UM2 = 50.0
"""Area in square microns below which a region is no tissue: about one nucleus, 8 µm across."""


@dataclass(frozen=True, kw_only=True)
class SlideOptions:
    """What `segment_slides` is asked for; everything has a default.

    - `to`: what slides become, by name; see `lpdseg.workflows.slides.kinds.KINDS`.
    - `mpp`: microns per pixel of every slide's level 0, whatever it says of itself.
    - `mpp_table`: a CSV with the columns `slide` (its name) and `mpp`, for slides that say nothing; see
      `resolve_mpp` for the order of sources.
    - `model_mpp`, `window`: microns per pixel and side in pixels of the patches that the model learnt from, where
      the run does not say, or to see slides otherwise.
    - `overlap`: share of a window's side that neighbours share, in 0..0.9; 0.5 by default.
    - `gate`, `refine`, `palette`: instead of the run's own. The gate acts on each window, as it was
      calibrated on patches.
    - `prototypes`: write everything but probabilities also of the prototypes that win the pixels of each class.
    - `simplify_um`, `minimum_um2`: of GeoJSON, see `write_geojson`.
    - `from_bounds`: coordinates, and positions in the metadata of masks and probabilities, count from the corner of
      the part of a slide that was scanned, as in QuPath, which crops slides to it; otherwise from that of level 0.
    - `skip_bad`: go on after a slide that fails; else its error is raised.
    - `shard`: (i, n): do every n-th slide from the i-th on, as one of n jobs.
    - `redo`: do slides whose outputs are there as well.
    - `engine`: `local`, or `ray` for the cluster at `address` (by default one on this machine).
    - `workers`: processes that read slides, by default half the cores that may be used, or 0 for none but this one;
      with `ray`, models, by default one per GPU or, without any, per processor.
    - `batch`: windows at once; halved where they do not fit in memory. Another size may change results by rounding.
    - `checkpoint`, `device`, `backend`, `edits`: see `lpdseg.load`.

    **Raises:** `SettingsError` for a figure that no slide could be read or written with.
    """

    to: str | Iterable[str] = "geojson,csv"
    mpp: float | None = None
    mpp_table: str | Path | None = None
    model_mpp: float | None = None
    window: int | None = None
    overlap: float | None = None
    gate: Gate | None = None
    refine: str | None = None
    palette: Palette | None = None
    prototypes: bool = False
    simplify_um: float = 0.0
    minimum_um2: float = SPECK_UM2
    from_bounds: bool = True
    skip_bad: bool = False
    shard: tuple[int, int] | None = None
    redo: bool = False
    engine: SlideEngine = "local"
    address: str | None = None
    workers: int | None = None
    batch: int | None = None
    checkpoint: str = "best"
    device: str = "auto"
    backend: Backend = "torch"
    edits: str | Path | Edits | None = None

    def __post_init__(self) -> None:
        for name, value in (("--simplify", self.simplify_um), ("--min-area", self.minimum_um2)):
            if not 0 <= value < float("inf"):
                raise SettingsError(f"{name} must be 0 or more; got {value:g}")
        if self.mpp is not None and not FINEST_MPP <= self.mpp <= COARSEST_MPP:
            raise SettingsError(
                f"--mpp must be the microns per pixel of a slide, {FINEST_MPP:g} to {COARSEST_MPP:g}; got "
                f"{self.mpp:g}"
            )
        for name, count, least in (("workers", self.workers, 0), ("batch", self.batch, 1)):
            if count is not None and count < least:
                raise SettingsError(f"--{name} must be {least} or more; got {count}")
        if self.engine not in get_args(SlideEngine):
            raise SettingsError(f"unknown engine {self.engine!r}; use {' or '.join(get_args(SlideEngine))}")
        if self.gate == "oracle":
            raise SettingsError("the oracle gate needs ground-truth labels; use the gate 'predicted' or 'none'")

    @property
    def predicting(self) -> dict[str, str]:
        """The run's settings of prediction that are changed."""
        asked = {"gate": self.gate, "refine": self.refine, "palette": self.palette}
        return {name: value for name, value in asked.items() if value is not None}

"""Corrections that a run learns from, and what they make of its figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lpdseg.data.corrected import NOBODY, CorrectedPatch, Fitted, LearntFrom, fit_corrections
from lpdseg.data.corrected_patches import CorrectedPatches
from lpdseg.data.corrections import Corrections, read_corrections
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import Manifest
from lpdseg.errors import DataError
from lpdseg.files import write_text
from lpdseg.settings import Settings

COPY = "learnt.geojson"
"""Of a run's folder: the corrections that it learns from, for resuming, whatever becomes of their file."""


@dataclass(frozen=True, repr=False)
class Taught:
    """What a run learns of corrections.

    - `patches`: those with corrected pixels.
    - `learnt`: of valid and test, from these and from those of earlier runs that this one goes on from.
    - `told`: for the run's record; None without corrections.
    - `text`: the corrections themselves, as GeoJSON.
    """

    patches: tuple[CorrectedPatch, ...] = ()
    learnt: LearntFrom = NOBODY
    told: dict[str, Any] | None = None
    text: str = ""

    def beside(self, patches: TrainingPatches, settings: Settings) -> CorrectedPatches | None:
        """The corrected patches as they are learnt from beside all others; None where there are none."""
        if not self.patches or settings.loss.correction.weight == 0:
            return None
        return CorrectedPatches(self.patches, patches)

    def keep(self, run: Path) -> None:
        """Writes the corrections into a run's folder."""
        if self.told is not None:
            write_text(run / COPY, self.text)


NOTHING = Taught()
"""Of most runs."""


def teach(corrections: Corrections, data: Manifest, before: LearntFrom) -> tuple[Taught, Fitted]:
    """What a new run learns from `corrections` of `data`; `before` are corrections of earlier runs.

    **Raises:** `DataError` as `fit_corrections`, and where nothing is corrected.
    """
    if not corrections.drawn and not corrections.labels:
        passed = "".join(f"; {note.removeprefix(f'{corrections.source}: ')}" for note in corrections.notes)
        raise DataError(
            f"{corrections.source} corrects nothing{passed}; draw, or change a label, or train without it"
        )
    fitted = fit_corrections(corrections, data)
    strokes = sum(one.width is not None for one in corrections.drawn)
    learnt = LearntFrom.of(fitted.patches) | before
    told = {
        "file": corrections.source, "sha256": corrections.sha256,
        "strokes": strokes, "areas": len(corrections.drawn) - strokes, "patches": len(fitted.patches),
        "labelled": len(corrections.labels), "other_label": len(fitted.labels),
        "slides": [asdict(part) for part in fitted.slides],
        "left_out": (learnt.as_dict() or {}).get("patients", {}),
    }  # fmt: skip
    return Taught(fitted.patches, learnt, told, corrections.text()), fitted


def read_taught(run: Path, data: Manifest, told: Mapping[str, Any] | None, learnt: LearntFrom) -> Taught:
    """What a run that goes on has learnt from all along; `told` is what its record says.

    **Raises:** `DataError` where its copy of the corrections is gone.
    """
    if told is None:
        return Taught(learnt=learnt)
    kept = copy_of(run, data, told)
    return Taught(fit_corrections(kept, data).patches, learnt, dict(told), kept.text())


def copy_of(run: Path, data: Manifest, told: Mapping[str, Any]) -> Corrections:
    """The corrections that a run keeps, under the name of the file that they came from."""
    return replace(read_corrections(run / COPY, data.classes.names), source=str(told["file"]))

"""How a slide ended."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lpdseg.export.areas import ClassArea
from lpdseg.pictures.html import table_html
from lpdseg.slides.slide import Mpp


@dataclass(frozen=True, repr=False)
class SlideResult:
    """How a slide ended.

    - `path`: the slide.
    - `status`: `segmented`; `kept` where its outputs were there already and still true; `failed`.
    - `sentence`: why it failed, or what is worth knowing.
    - `mpp`: of its level 0; None where it failed before that was known.
    - `areas`: of the classes.
    - `tissue`: share of the slide that is tissue, in 0..1.
    - `windows`: computed in this run or, where kept, in the one that made the outputs.
    - `rate`: windows per second of that run; `waiting`: share of its time that the model waited for pixels.
    - `seconds`: spent on the slide in this run.
    - `outputs`: files by kind.
    - `about`: what the model was trained on and what its masks are for, a sentence.
    - `model`, `edits`: SHA-256 of its weights, and of the edits of its prototypes, where there are any.
    - `offsets_data`: fingerprint of the data that offsets were chosen anew on, if they were.
    - `unsure`: share of tissue that is unsure, in 0..1; None where uncertainty was never asked for.
    - `told`: the microns per pixel that the slide tells of itself; None where it tells none.
    """

    path: Path
    status: Literal["segmented", "kept", "failed"]
    sentence: str = ""
    mpp: Mpp | None = None
    areas: tuple[ClassArea, ...] = ()
    tissue: float = 0.0
    windows: int = 0
    rate: float = 0.0
    waiting: float = 0.0
    seconds: float = 0.0
    outputs: dict[str, Path] = field(default_factory=dict)
    model: str = ""
    told: Mpp | None = None
    about: str = ""
    edits: str = ""
    offsets_data: str = ""
    unsure: float | None = None

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = [("class", "mm²", "% of tissue")]
        rows += [(area.name, f"{area.mm2:.4g}", f"{area.percent:.1f}") for area in self.areas]
        return table_html(repr(self), rows)

    def __repr__(self) -> str:
        found = ", ".join(f"{area.name} {area.percent:.0f} %" for area in self.areas)
        told = "; ".join(part for part in (found, ", ".join(self.outputs), self.sentence) if part)
        return f"SlideResult({self.path.name} {self.status}{': ' if told else ''}{told})"

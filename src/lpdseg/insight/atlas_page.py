"""An atlas as one HTML file that needs no other file and no script."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lpdseg.evaluation.protocol import interval_text
from lpdseg.files import write_text
from lpdseg.insight.atlas import Atlas, Card, Plate
from lpdseg.insight.atlas_patches import TypicalPatch
from lpdseg.insight.figures import css_colour
from lpdseg.insight.page import render
from lpdseg.insight.pictures import heat_over, photo_uri

_PREFERS = 1.25
"""A sub-type is told as preferred from this many times the prototype's share of the class on."""


@dataclass(frozen=True)
class Measure:
    """A row of the table of measures: its name, its value as text, and what it says in a sentence."""

    name: str
    value: str
    meaning: str


def write_atlas(atlas: Atlas, path: Path, *, title: str, about: str = "") -> None:
    """Writes the page.

    **Arguments:**

    - `title`: of the page, such as the run's name.
    - `about`: a sentence on the run, which the first paragraph ends with.

    **Raises:** `OutputError` where the file cannot be written.
    """
    text = render(
        "atlas.html.j2",
        title=title,
        about=about,
        atlas=atlas,
        coverage=atlas.coverage,
        measures=[] if atlas.coverage is None else measures(atlas.coverage),
        plates=[_plate(number, plate) for number, plate in enumerate(atlas.plates)],
        prototypes=sum(len(plate.cards) for plate in atlas.plates),
        retired=sum(len(plate.retired) for plate in atlas.plates),
        per_cent=per_cent,
    )
    write_text(path, text)


def per_cent(share: float | None, digits: int = 1) -> str:
    """A share in 0..1 as per cent; `–` where there is none, and never 0 for what is more than nothing."""
    if share is None:
        return "–"
    least = 10.0**-digits
    if 0 < 100 * share < least / 2:
        return f"<{least:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def measures(coverage: dict[str, Any]) -> list[Measure]:
    """The rows of the table; those that the data cannot give are left out."""
    rows = [
        Measure(
            "pixels claimed",
            per_cent(coverage["claimed"]),
            "Share of a class's true pixels at which it is above all other classes, without gate or refinement; "
            "mean over classes.",
        ),
        Measure(
            "effective prototypes per class",
            _number(coverage["effective_prototypes"], 2) + _of(coverage),
            "How many prototypes would share the class's pixels equally to be as mixed as these are (exponential "
            "of the entropy of the winning shares); 1: one does all the work. Mean over classes.",
        ),
        Measure(
            "dead prototypes",
            f"{coverage['dead_prototypes']} of {coverage['prototypes'] - coverage['retired_prototypes']}",
            "Prototypes that win less than 1 % of an equal share of their class's pixels; "
            f"{coverage['never_winning']} of them win none at all.",
        ),
        Measure(
            "Jeffrey similarity",
            _number(coverage["jeffrey_similarity"], 3),
            "How alike siblings answer over the pixels of their class in a patch, exp(−D_J) as in "
            f"the diversity loss with τ = {coverage['temperature']:g}; 1: their maps are the same, 0: each looks "
            "elsewhere.",
        ),
        Measure(
            "region shrinkage",
            per_cent(coverage["region_shrinkage"]),
            "Share of the claimed region that would be lost with only the prototype that wins most of it; "
            "mean over patches and classes. 0 %: one prototype is enough.",
        ),
    ]
    worst = coverage["worst_subtype"]
    if worst is not None:
        ends = coverage["subtype_coverage_interval"]
        spread = f" {interval_text([100 * end for end in ends])}" if ends else ""
        rows += [
            Measure(
                "sub-type coverage",
                per_cent(coverage["subtype_coverage"]) + spread,
                "Share of a sub-type's pixels that is claimed by its class, mean over sub-types"
                f"{', with the 95 % interval over patients' if ends else ''}; "
                f"the least covered is {worst['name']} ({worst['class']}), {per_cent(worst['claimed'])}.",
            ),
        ]
    if coverage["mutual_information"] is not None:
        rows += [
            Measure(
                "winner tells the sub-type",
                f"{_number(coverage['mutual_information'], 3)} bits, "
                f"{per_cent(coverage['normalised_mutual_information'])}",
                "Mutual information between winning prototype and sub-type within a class, and its share of the "
                "entropy of the sub-types; 100 %: the winner tells the sub-type for sure. Mean over classes.",
            ),
            Measure(
                "a region's winner tells its sub-type",
                f"{_number(coverage['region_information'], 3)} bits, "
                f"{per_cent(coverage['normalised_region_information'])}",
                "The same over regions, all of a class in a patch; winners that tell nothing would seem to tell "
                f"{_number(coverage['region_by_chance'], 3)} bits of so few.",
            ),
        ]
    if coverage["patient_information"] is not None:
        rows.append(
            Measure(
                "a region's winner tells the patient",
                f"{coverage['patient_information']:.3f} bits",
                f"{coverage['patient_by_chance']:.3f} of them follow from the number of regions and from patients "
                f"who have sub-types of their own; what is above, {per_cent(coverage['patient_share'])} of the "
                "entropy of the patients, may be stain.",
            )
        )
    return [row for row in rows if row.value != "–"]


def _of(coverage: dict[str, Any]) -> str:
    counts = [one["prototypes"] - one["retired_prototypes"] for one in coverage["classes"].values()]
    fewest, most = min(counts), max(counts)
    return f" of {most}" if fewest == most else f" of {fewest} to {most}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _plate(number: int, plate: Plate) -> dict[str, Any]:
    return {
        "plate": plate,
        "figures": plate.figures,
        "colour": css_colour(plate.colour),
        "anchor": f"class-{number}",
        "trained": bool(plate.cards) and all(card.trained is not None for card in plate.cards),
        "cards": [
            {
                "card": card,
                "told": _told(card, plate),
                "tiles": [_tile(card, patch, plate) for patch in card.patches],
            }
            for card in plate.cards
        ],
    }


def _told(card: Card, plate: Plate) -> list[str]:
    """What a card says under its heading: nearest siblings, and the sub-type that it prefers."""
    said = []
    if card.siblings:
        alike = card.siblings[0]
        near = max(card.siblings, key=lambda one: one.cosine)
        if alike.similarity is not None:
            said.append(f"answers most like {alike.title} (Jeffrey similarity {alike.similarity:.2f})")
        said.append(f"nearest in direction: {near.title} (cosine {near.cosine:.2f})")
    if card.preferred is not None and card.preferred.times >= _PREFERS:
        face = card.preferred
        said.append(
            f"prefers {face.name}: wins {per_cent(face.share, 0)} of it, {face.times:.1f} × its share of all"
        )
    return said


def _tile(card: Card, patch: TypicalPatch, plate: Plate) -> dict[str, str]:
    return {
        "image": photo_uri(patch.framed()),
        "heat": photo_uri(heat_of(patch, plate)),
        "said": f"patch {patch.file}, typical of {card.title}",
        "patient": patch.patient,
        "share": per_cent(patch.share, 0),
        "strength": f"{patch.strength:.2f}",
    }


def heat_of(patch: TypicalPatch, plate: Plate) -> np.ndarray:
    """A typical patch under its prototype's map, on the plate's range, with what it wins outlined."""
    unit = (patch.value - plate.low) / max(plate.high - plate.low, 1e-6)
    return heat_over(patch.image, unit, patch.won)

"""The atlas of a run's prototypes: what each has become, on which patches it shows, and what its siblings are.

K prototypes in all, k of one class; prototypes are counted from 1 within their class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpdseg.data.records import Manifest
from lpdseg.insight.atlas_patches import TypicalPatch, choose_typical, show_patches
from lpdseg.insight.coverage import coverage_record, pair_similarity
from lpdseg.insight.evidence import prototype_angles
from lpdseg.insight.survey import survey_split
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import Colour, TissueClasses

_SIDE = 160


@dataclass(frozen=True)
class Sibling:
    """Another prototype of the class.

    - `similarity`: exp(-D_J) of the two, mean over patches; None where no patch shows the class.
    - `cosine`: of the two projected prototypes.
    """

    number: int
    similarity: float | None
    cosine: float


@dataclass(frozen=True)
class Preference:
    """A sub-type, the share of it that a prototype wins, and how many times its share of the class that is."""

    name: str
    share: float
    times: float


@dataclass(frozen=True)
class Card:
    """One prototype.

    - `share`: of its class's pixels, those that it wins.
    - `siblings`: all others of its class, those that answer most alike first.
    - `preferred`: the sub-type that it wins more often than the rest of the class, if there is one; generated data
      only.
    """

    number: int
    share: float
    dead: bool
    siblings: tuple[Sibling, ...]
    preferred: Preference | None
    patches: tuple[TypicalPatch, ...]


@dataclass(frozen=True)
class Plate:
    """The prototypes of one class.

    - `figures`: see `coverage_record`, under `classes`.
    - `subtypes`: the same under `subtypes`, those of this class.
    - `low`, `high`: the values at the ends of the heat map, the same for all cards.
    """

    name: str
    colour: Colour
    figures: dict[str, Any]
    subtypes: tuple[dict[str, Any], ...]
    cards: tuple[Card, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Atlas:
    """All plates, and the coverage of the whole; see `coverage_record`."""

    classes: TissueClasses
    coverage: dict[str, Any]
    plates: tuple[Plate, ...]


def make_atlas(
    segmenter: Segmenter,
    manifest: Manifest,
    split: str,
    *,
    patches: int = 6,
    most: int | None = None,
    seed: int = 0,
    temperature: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Looks at a split once, and again at the patches to show.

    **Arguments:**

    - `patches`: typical patches per prototype, see `choose_typical`.
    - `most`, `seed`, `temperature`, `progress`: see `survey_split`.

    **Raises:** `SettingsError` for a method without prototypes; `DataError` where no patch has a mask, or a file
    cannot be read.
    """
    survey = survey_split(
        segmenter, manifest, split, most=most, seed=seed, temperature=temperature, progress=progress
    )
    coverage, angles = coverage_record(survey), prototype_angles(segmenter)
    numbers = range(len(survey.class_of))
    chosen = {number: choose_typical(survey.patches, number, patches) for number in numbers}
    shown = show_patches(segmenter, manifest.classes, chosen, _SIDE)
    plates = []
    for index, name in enumerate(survey.names):
        own = np.flatnonzero(survey.class_of == index)
        figures = coverage["classes"][name]
        faces = tuple(one for one in coverage["subtypes"] if one["class"] == name)
        similarity = pair_similarity(survey, index)
        cards = tuple(
            Card(
                place + 1,
                figures["shares"][place],
                place + 1 in figures["dead"],
                _siblings(place, similarity, angles[np.ix_(own, own)]),
                _preferred(place, figures["shares"][place], faces),
                shown[number],
            )
            for place, number in enumerate(own.tolist())
        )
        plates.append(Plate(name, segmenter.classes.colours[index], figures, faces, cards, *_range(cards)))
    return Atlas(segmenter.classes, coverage, tuple(plates))


def _siblings(place: int, similarity: np.ndarray, angles: np.ndarray) -> tuple[Sibling, ...]:
    found = [
        Sibling(
            other + 1,
            None if np.isnan(similarity[place, other]) else float(similarity[place, other]),
            float(angles[place, other]),
        )
        for other in range(len(angles))
        if other != place
    ]
    return tuple(sorted(found, key=lambda one: (-(one.similarity or 0.0), -one.cosine)))


def _preferred(place: int, share: float, faces: tuple[dict[str, Any], ...]) -> Preference | None:
    if share == 0 or len(faces) < 2:
        return None
    most = max(faces, key=lambda one: one["shares"][place])
    won = most["shares"][place]
    return Preference(most["name"], won, won / share)


def _range(cards: tuple[Card, ...]) -> tuple[float, float]:
    """The lowest and the highest value of all patches shown: one range, so that a weak prototype looks weak."""
    known = [patch.value for card in cards for patch in card.patches]
    return (
        (min(float(one.min()) for one in known), max(float(one.max()) for one in known)) if known else (-1.0, 1.0)
    )

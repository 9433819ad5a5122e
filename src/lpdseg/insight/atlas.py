"""The atlas of a run's prototypes: what each has become, on which patches it shows, and what its siblings are.

K prototypes in all, k of one class; prototypes are counted from 1 within their class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpdseg.data.records import Manifest
from lpdseg.errors import DataError
from lpdseg.insight.atlas_patches import TypicalPatch, choose_typical, show_patches
from lpdseg.insight.atlas_regions import show_regions
from lpdseg.insight.coverage import coverage_record, pair_similarity
from lpdseg.insight.evidence import (
    is_dense,
    live_prototypes,
    prototype_angles,
    prototype_titles,
    prototypes_of,
)
from lpdseg.insight.survey import Survey, survey_split
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import Colour, TissueClasses
from lpdseg.training.regions import FILE, Kept

_SIDE = 160


@dataclass(frozen=True)
class Sibling:
    """Another prototype of the class.

    - `similarity`: exp(-D_J) of the two, mean over patches; None where no patch shows the class.
    - `cosine`: of the two projected prototypes.
    """

    number: int
    title: str
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

    - `title`: what people call it: its class and number, and its name where it has one.
    - `share`: of its class's pixels, those that it wins; None where no patches were looked at.
    - `trained`: of its class's training patches, those of its morphology; None where that is not known.
    - `siblings`: all others of its class that are not retired, those that answer most alike first.
    - `preferred`: the sub-type that it wins more often than the rest of the class, if there is one; generated data
      only.
    """

    number: int
    title: str
    share: float | None
    trained: float | None
    dead: bool
    siblings: tuple[Sibling, ...]
    preferred: Preference | None
    patches: tuple[TypicalPatch, ...]


@dataclass(frozen=True)
class Plate:
    """The prototypes of one class.

    - `figures`: see `coverage_record`, under `classes`; None where no patches were looked at.
    - `subtypes`: the same under `subtypes`, those of this class.
    - `retired`: titles of those that take no part in any mask, and have no card.
    - `low`, `high`: the values at the ends of the heat map, the same for all cards.
    """

    name: str
    colour: Colour
    figures: dict[str, Any] | None
    subtypes: tuple[dict[str, Any], ...]
    cards: tuple[Card, ...]
    retired: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Atlas:
    """All plates, and the coverage of the whole.

    - `coverage`: see `coverage_record`; None where no patches were looked at.
    - `regions`: whether cards show training regions, and not patches of the split.
    - `note`: a sentence on what is not shown, or None.
    """

    classes: TissueClasses
    coverage: dict[str, Any] | None
    plates: tuple[Plate, ...]
    dense: bool
    regions: bool
    note: str | None


def make_atlas(
    segmenter: Segmenter,
    manifest: Manifest | None,
    split: str,
    *,
    kept: Kept | None = None,
    names: Mapping[int, str] | None = None,
    patches: int = 6,
    most: int | None = None,
    seed: int = 0,
    temperature: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Shows each prototype by the training regions that the run keeps, else by patches of a split; and measures.

    Measures are taken on the split, by its true masks, or where no patch has one by predicted masks.

    **Arguments:**

    - `manifest`: None for training regions alone, without measures.
    - `kept`: see `lpdseg.training.regions`. Images are looked for where they were, then in the manifest's folder.
    - `names`: what people call prototypes, by index, where it is more than class and number.
    - `patches`: regions per prototype, or typical patches, see `choose_typical`.
    - `most`, `seed`, `temperature`, `progress`: see `survey_split`.

    **Raises:** `SettingsError` for a method without prototypes; `DataError` where there is nothing to show, or a
    file cannot be read.
    """
    model, dense = prototypes_of(segmenter), is_dense(segmenter)
    survey, kept = None, kept if dense else None
    if manifest is not None:
        survey = survey_split(
            segmenter, manifest, split, most=most, seed=seed, temperature=temperature,
            predicted=not manifest.with_masks(split), progress=progress,
        )  # fmt: skip
    elif kept is None:
        raise DataError(
            f"this run keeps no training regions ({FILE}), so patches are needed; name them with --data"
        )
    shown, regions, note = _shown(segmenter, survey, manifest, kept, patches)
    coverage = None if survey is None else coverage_record(survey)
    titles = [(names or {}).get(k, title) for k, title in enumerate(prototype_titles(segmenter))]
    of, live, angles = model.bank.class_of.cpu().numpy(), live_prototypes(segmenter), prototype_angles(segmenter)
    plates = []
    for index, name in enumerate(segmenter.classes.names):
        own = np.flatnonzero(of == index)
        figures = None if coverage is None else coverage["classes"][name]
        faces = () if coverage is None else tuple(one for one in coverage["subtypes"] if one["class"] == name)
        alike = np.full((len(own), len(own)), np.nan) if survey is None else pair_similarity(survey, index)
        siblings = _Siblings([titles[k] for k in own], live[own], alike, angles[np.ix_(own, own)])
        cards = tuple(
            Card(
                place + 1,
                titles[k],
                None if figures is None else figures["shares"][place],
                None if kept is None else kept.prototypes[k].share,
                figures is not None and place + 1 in figures["dead"],
                siblings.of(place),
                None if figures is None else _preferred(place, figures["shares"][place], faces),
                shown.get(k, ()),
            )
            for place, k in enumerate(own.tolist())
            if live[k]
        )
        retired = tuple(titles[k] for k in own if not live[k])
        plates.append(Plate(name, segmenter.classes.colours[index], figures, faces, cards, retired, *_range(cards)))
    return Atlas(segmenter.classes, coverage, tuple(plates), dense, regions, note)


def _shown(
    segmenter: Segmenter, survey: Survey | None, manifest: Manifest | None, kept: Kept | None, patches: int
) -> tuple[dict[int, tuple[TypicalPatch, ...]], bool, str | None]:
    """Pictures by prototype, whether they are training regions, and what is told of those that are not there."""
    note = None
    if kept is not None:
        roots = [kept.root] if manifest is None else [kept.root, manifest.root]
        found = show_regions(segmenter, kept, roots, patches, _SIDE)
        if found.missing:
            note = (
                f"{found.missing} of {found.wanted} training regions cannot be shown, for their images are not in "
                f"{kept.root} any more; name the folder of the data set that they are in now with --data"
            )
        if survey is None or found.missing < found.wanted:
            return found.shown, True, note
    if survey is None or manifest is None:
        return {}, False, note
    chosen = {k: choose_typical(survey.patches, k, patches) for k in range(len(survey.class_of))}
    return show_patches(segmenter, manifest.classes, chosen, _SIDE), False, note


@dataclass(frozen=True)
class _Siblings:
    """The prototypes of a class: k titles, which of them live, and k x k similarities and cosines."""

    titles: list[str]
    live: np.ndarray
    similarity: np.ndarray
    angles: np.ndarray

    def of(self, place: int) -> tuple[Sibling, ...]:
        found = [
            Sibling(
                other + 1,
                title,
                None if np.isnan(self.similarity[place, other]) else float(self.similarity[place, other]),
                float(self.angles[place, other]),
            )
            for other, title in enumerate(self.titles)
            if other != place and self.live[other]
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

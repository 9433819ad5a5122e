"""Do the prototypes of a class cover it? Measures over the true pixels of a split.

N patches, C classes, K prototypes in all, k of one class, S sub-types.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import SUBTYPES
from lpdseg.insight.evidence import effective_number
from lpdseg.insight.survey import Survey, survey_split
from lpdseg.insight.usage import is_dead, mean_share, mutual_information, share_interval
from lpdseg.segmenting.segmenter import Segmenter


def measure_coverage(
    segmenter: Segmenter,
    manifest: Manifest,
    split: str,
    *,
    most: int | None = None,
    seed: int = 0,
    temperature: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measures how the prototypes share their classes' true pixels; see `coverage_record` for what comes back.

    **Arguments:**

    - `most`, `seed`: look at no more than `most` patches with masks, drawn at random.
    - `temperature`: τ_v of `jeffrey_similarity`; one value for all runs that are compared.
    - `progress`: called with patches done, and of how many.

    **Raises:** `SettingsError` for a method without prototypes; `DataError` where no patch has a mask, or a file
    cannot be read.
    """
    return coverage_record(
        survey_split(segmenter, manifest, split, most=most, seed=seed, temperature=temperature, progress=progress)
    )


def coverage_record(survey: Survey) -> dict[str, Any]:
    """Counts → figures, as plain values for JSON. Shares are in 0..1; None is a figure that the data cannot give.

    The *winner* at a pixel is the prototype of the pixel's true class with the highest cosine at the coarsest
    scale, upsampled. A pixel is *claimed* where the highest cosine of all prototypes belongs to its true class.

    - `subtype_coverage`: the mean over sub-types (generated data only) of the share of their pixels that is
      claimed, with its interval over patients; `worst_subtype` is the least of them.
    - `foreground_coverage`: the mean over sub-types of the share of their pixels that lies in the foreground of
      some prototype of their class, as the contrast cuts foregrounds out (α = 0.5); `foreground_alone` is the same
      of the prototype alone that wins most of the class in the patch.
    - `foreground_precision`: the share of those foregrounds that is their class, mean over classes: foregrounds
      that lie everywhere cover much and say little.
    - `mutual_information`: between winner and sub-type within a class, in bits, and `normalised_…` by the entropy
      of the sub-types; mean over the classes with at least two sub-types.
    - `dead_prototypes`: how many win less than 0.01 / k of their class's pixels, named in `dead`; `never_winning`
      of them win none at all. Classes that the patches do not show are left out.
    - `effective_prototypes`: exp of the entropy of the winning shares (Hill 1973), mean over classes.
    - `jeffrey_similarity`: L_div with true masks: the mean over (patch, class in it) of the mean over pairs of
      siblings of exp(-D_J) between their activation distributions; 1: all alike. None where no class has two.
    - `region_shrinkage`: the share of the claimed region that the prototype which wins most of it would miss
      alone, mean over (patch, class with claimed pixels).
    - `claimed`: the share of a class's pixels that is claimed, mean over classes.
    - `classes`, `subtypes`: the same for each. Prototypes count from 1 within their class, in the order of lists.
    - `by_patient`: pixels and claimed pixels of each sub-type, for intervals over patients and paired differences.
    """
    classes = [_class_record(survey, index) for index in range(len(survey.names))]
    seen = [one for one in classes if one["pixels"]]
    faces = _subtype_records(survey)
    dead = [
        {"class": one["name"], "prototype": place + 1, "share": one["shares"][place]}
        for one in seen
        for place in np.flatnonzero(is_dead(np.array(one["shares"]))).tolist()
    ]
    told = [one["mutual_information"] for one in seen if one["mutual_information"] is not None]
    certain = [one["normalised_mutual_information"] for one in seen if one["mutual_information"] is not None]
    worst = min(faces, key=lambda one: one["claimed"], default=None)
    part, whole, patients = _by_patient(survey)
    return {
        "split": survey.split,
        "patches": len(survey.patches),
        "patients": len(patients),
        "scale": survey.level + 1,
        "temperature": survey.temperature,
        "prototypes": len(survey.class_of),
        "subtype_coverage": float(mean_share(part.sum(0), whole.sum(0))) if faces else None,
        "subtype_coverage_interval": share_interval(part, whole) if faces else None,
        "worst_subtype": None if worst is None else {key: worst[key] for key in ("name", "class", "claimed")},
        **_foreground_figures(survey),
        "mutual_information": _mean(told),
        "normalised_mutual_information": _mean(certain),
        "dead_prototypes": len(dead),
        "never_winning": sum(one["share"] == 0 for one in dead),
        "dead": dead,
        "effective_prototypes": _mean([one["effective_prototypes"] for one in seen]),
        "jeffrey_similarity": _known_mean(np.stack([_mean_similarity(survey, c) for c in range(len(classes))])),
        "region_shrinkage": _known_mean(np.stack([patch.shrinkage for patch in survey.patches])),
        "claimed": _mean([one["claimed"] for one in seen]),
        "classes": {one["name"]: one for one in classes},
        "subtypes": {one["name"]: one for one in faces},
        "by_patient": {
            patient: {
                SUBTYPES[face].name: {"pixels": int(whole[row, face]), "claimed": int(part[row, face])}
                for face in np.flatnonzero(whole[row]).tolist()
            }
            for row, patient in enumerate(patients)
            if whole[row].any()
        },
    }


def pair_similarity(survey: Survey, index: int) -> Float[np.ndarray, "k k"]:
    """exp(-D_J) of every two prototypes of a class, mean over the patches that show it; NaN where none does."""
    own = np.flatnonzero(survey.class_of == index)
    known = [patch.similarity[np.ix_(own, own)] for patch in survey.patches]
    known = [values for values in known if not np.isnan(values).any()]
    mean: Float[np.ndarray, "k k"] = np.mean(known, 0) if known else np.full((len(own), len(own)), np.nan)
    return mean


def _foreground_figures(survey: Survey) -> dict[str, float | None]:
    whole = np.sum([patch.subtype_won.sum(1) for patch in survey.patches], 0)
    union, alone = (
        np.sum([getattr(patch, name) for patch in survey.patches], 0)
        for name in ("subtype_covered", "subtype_alone")
    )
    inside, everything = np.sum([patch.covered for patch in survey.patches], 0).T
    known = bool(whole.any())
    return {
        "foreground_coverage": float(mean_share(union, whole)) if known else None,
        "foreground_alone": float(mean_share(alone, whole)) if known else None,
        "foreground_precision": float(mean_share(inside, everything)) if everything.any() else None,
    }


def _class_record(survey: Survey, index: int) -> dict[str, Any]:
    own = survey.class_of == index
    won = np.sum([patch.won[own] for patch in survey.patches], 0)
    pixels, claimed = (
        int(sum(getattr(patch, name)[index] for patch in survey.patches)) for name in ("pixels", "claimed")
    )
    joint = np.sum([patch.subtype_won[:, own] for patch in survey.patches], 0)
    told = mutual_information(joint)
    shares = won / max(pixels, 1)
    return {
        "name": survey.names[index],
        "pixels": pixels,
        "patches": sum(bool(patch.pixels[index]) for patch in survey.patches),
        "prototypes": int(own.sum()),
        "shares": shares.tolist(),
        "effective_prototypes": effective_number(shares.tolist()) if pixels else None,
        "dead_prototypes": int(is_dead(shares).sum()) if pixels else 0,
        "claimed": claimed / pixels if pixels else None,
        "jeffrey_similarity": _known_mean(_mean_similarity(survey, index)),
        "region_shrinkage": _known_mean(np.array([patch.shrinkage[index] for patch in survey.patches])),
        "mutual_information": None if told is None else told[0],
        "normalised_mutual_information": None if told is None else told[1],
    }


def _subtype_records(survey: Survey) -> list[dict[str, Any]]:
    """One for each sub-type of a tissue class that the patches show."""
    records = []
    for face, subtype in enumerate(SUBTYPES):
        if subtype.tissue >= len(survey.names):
            continue
        own = survey.class_of == subtype.tissue
        won = np.sum([patch.subtype_won[face][own] for patch in survey.patches], 0)
        pixels = int(won.sum())
        if pixels:
            claimed = sum(int(patch.subtype_claimed[face]) for patch in survey.patches)
            records.append(
                {
                    "name": subtype.name,
                    "class": survey.names[subtype.tissue],
                    "pixels": pixels,
                    "claimed": claimed / pixels,
                    "shares": (won / pixels).tolist(),
                }
            )
    return records


def _by_patient(
    survey: Survey,
) -> tuple[Int[np.ndarray, "A S"], Int[np.ndarray, "A S"], list[str]]:
    """Claimed and all pixels of each sub-type, per patient, and who they are."""
    patients = sorted({patch.record.patient for patch in survey.patches})
    part, whole = (np.zeros((len(patients), len(SUBTYPES)), np.int64) for _ in range(2))
    for patch in survey.patches:
        row = patients.index(patch.record.patient)
        part[row] += patch.subtype_claimed
        whole[row] += patch.subtype_won.sum(1)
    return part, whole, patients


def _mean_similarity(survey: Survey, index: int) -> Float[np.ndarray, " N"]:
    """Per patch the mean over pairs of siblings; NaN where the class is not shown, or has one prototype."""
    own = np.flatnonzero(survey.class_of == index)
    if len(own) < 2:
        return np.full(len(survey.patches), np.nan)
    upper: Bool[np.ndarray, "k k"] = np.triu(np.ones((len(own), len(own)), bool), 1)
    return np.array([patch.similarity[np.ix_(own, own)][upper].mean() for patch in survey.patches])


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _known_mean(values: np.ndarray) -> float | None:
    return _mean(values[~np.isnan(values)].tolist())

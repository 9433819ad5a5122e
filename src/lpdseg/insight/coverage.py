"""Do the prototypes of a class cover it? Measures over the true pixels of a split.

N patches, C classes, K prototypes in all, k of one class, S sub-types.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lpdseg.data.records import Manifest
from lpdseg.insight.evidence import effective_number
from lpdseg.insight.information import Told, mutual_information, purity, tell
from lpdseg.insight.survey import Survey, survey_split
from lpdseg.insight.usage import is_dead, mean_share, share_interval
from lpdseg.segmenting.segmenter import Segmenter

_TOLD = (
    "purity", "purity_of_one", "region_information", "normalised_region_information", "region_by_chance",
    "patient_information", "patient_by_chance", "patient_share",
)  # fmt: skip


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

    The *winner* at a pixel is the prototype of the pixel's true class with the highest value: where prototypes make
    the mask, its probability in the dense map; else its cosine at the coarsest scale. A pixel is *claimed* where
    its true class is above all others, before gate and refinement. A *region* is all of a class in one patch: its
    winner wins most of its pixels, its sub-type is the commonest of them. Sub-types are the manifest's, or those of
    generated data; what is told of them is the mean over the classes that show two or more.

    - `subtype_coverage`: the mean over sub-types of the share of their pixels that is claimed, with its interval
      over patients; `worst_subtype` is the least of them.
    - `mutual_information`: between winner and sub-type, over pixels, in bits, and `normalised_…` by the entropy of
      the sub-types; `worst_class_information` is the lowest of a class.
    - `purity`: the share of pixels whose sub-type is the commonest of their winner's, and `purity_of_one`: that of
      a prototype that wins everything.
    - `region_information`, `normalised_region_information`: the same as over pixels, over regions;
      `region_by_chance`: what winners that tell nothing would seem to tell, see `lpdseg.insight.information.tell`.
    - `patient_information`: between a region's winner and the patient, in bits, mean over classes: stain makes
      clusters that look like sub-types. `patient_by_chance` is what follows from few regions, and from patients who
      have sub-types of their own; `patient_share` is what is above that, by the entropy of the patients.
    - `dead_prototypes`: how many win less than 0.01 / k of their class's pixels, named in `dead`; `never_winning`
      of them win none at all. Classes that the patches do not show are left out, and so are the
      `retired_prototypes`, which the training took out of their class.
    - `effective_prototypes`: exp of the entropy of the winning shares (Hill 1973), mean over classes.
    - `jeffrey_similarity`: L_div per image with true masks: the mean over (patch, class in it) of the mean over
      pairs of siblings of exp(-D_J) between the activation distributions of their cosines; 1: all alike. None where
      no class has two.
    - `region_shrinkage`: the share of the claimed region that the prototype which wins most of it would miss
      alone, mean over (patch, class with claimed pixels).
    - `claimed`: the share of a class's pixels that is claimed, mean over classes.
    - `masks`: `true`; or `predicted`, where the run's own stand for them: nothing is told of what is claimed.
    - `classes`, `subtypes`: the same for each. Prototypes count from 1 within their class, in the order of lists.
    """
    classes = [_class_record(survey, index) for index in range(len(survey.names))]
    seen = [one for one in classes if one["pixels"]]
    dead = [
        {"class": one["name"], "prototype": number, "share": one["shares"][number - 1]}
        for one in seen
        for number in one["dead"]
    ]

    def means(*names: str) -> dict[str, float | None]:
        return {name: _mean([one[name] for one in seen if one[name] is not None]) for name in names}

    faces = _subtype_records(survey)
    worst = min(faces, key=lambda one: one["claimed"], default=None)
    part, whole, patients = _by_patient(survey)
    told = [one["mutual_information"] for one in seen if one["mutual_information"] is not None]
    return {
        "split": survey.split,
        "patches": len(survey.patches),
        "patients": len(patients),
        "masks": "predicted" if survey.predicted else "true",
        "map": survey.map,
        "temperature": survey.temperature,
        "prototypes": len(survey.class_of),
        "subtype_coverage": float(mean_share(part.sum(0), whole.sum(0))) if faces else None,
        "subtype_coverage_interval": share_interval(part, whole) if faces else None,
        "worst_subtype": None if worst is None else {key: worst[key] for key in ("name", "class", "claimed")},
        **means("mutual_information", "normalised_mutual_information"),
        "worst_class_information": min(told, default=None),
        **means(*_TOLD),
        "retired_prototypes": int((~survey.live).sum()),
        "dead_prototypes": len(dead),
        "never_winning": sum(one["share"] == 0 for one in dead),
        "dead": dead,
        **means("effective_prototypes"),
        "jeffrey_similarity": _known_mean(np.stack([_mean_similarity(survey, c) for c in range(len(classes))])),
        "region_shrinkage": None
        if survey.predicted
        else _known_mean(np.stack([patch.shrinkage for patch in survey.patches])),
        **means("claimed"),
        "classes": {one["name"]: one for one in classes},
        "subtypes": faces,
    }


def pair_similarity(survey: Survey, index: int) -> Float[np.ndarray, "k k"]:
    """exp(-D_J) of every two prototypes of a class, mean over the patches that show it; NaN where none does."""
    own = np.flatnonzero(survey.class_of == index)
    known = [patch.similarity[np.ix_(own, own)] for patch in survey.patches]
    known = [values for values in known if not np.isnan(values).any()]
    mean: Float[np.ndarray, "k k"] = np.mean(known, 0) if known else np.full((len(own), len(own)), np.nan)
    return mean


def _class_record(survey: Survey, index: int) -> dict[str, Any]:
    own = survey.class_of == index
    won = np.sum([patch.won[own] for patch in survey.patches], 0)
    pixels, claimed = (
        int(sum(getattr(patch, name)[index] for patch in survey.patches)) for name in ("pixels", "claimed")
    )
    joint = np.sum([patch.subtype_won[:, own] for patch in survey.patches], 0)
    told, pure = mutual_information(joint), purity(joint)
    shares = won / max(pixels, 1)
    dead = is_dead(shares) & survey.live[own] & bool(pixels)
    return {
        "name": survey.names[index],
        "pixels": pixels,
        "patches": sum(bool(patch.pixels[index]) for patch in survey.patches),
        "prototypes": int(own.sum()),
        "shares": shares.tolist(),
        "effective_prototypes": effective_number(shares.tolist()) if pixels else None,
        "retired_prototypes": int((~survey.live[own]).sum()),
        "dead_prototypes": int(dead.sum()),
        "dead": (np.flatnonzero(dead) + 1).tolist(),
        "claimed": claimed / pixels if pixels and not survey.predicted else None,
        "jeffrey_similarity": _known_mean(_mean_similarity(survey, index)),
        "region_shrinkage": None
        if survey.predicted
        else _known_mean(np.array([patch.shrinkage[index] for patch in survey.patches])),
        "mutual_information": told and told[0],
        "normalised_mutual_information": told and told[1],
        "purity": pure and pure[0],
        "purity_of_one": pure and pure[1],
        **_region_figures(survey, index),
    }


def _region_figures(survey: Survey, index: int) -> dict[str, float | None]:
    """What the winners of a class's regions tell of their sub-types, and of patients."""
    own = survey.class_of == index
    shown = [patch for patch in survey.patches if patch.pixels[index]]
    counts = [patch.subtype_won[:, own].sum(1) for patch in shown]
    names = [patch.record.patient for patch in shown]
    winner = np.array([int(patch.won[own].argmax()) for patch in shown], np.int64)
    face = np.array([int(one.argmax()) if one.any() else -1 for one in counts], np.int64)
    known = face >= 0
    nothing = Told(np.nan, np.nan, np.nan)
    region = tell(winner[known], face[known], np.zeros(int(known.sum()), np.int64)) or nothing
    patient = tell(winner, np.unique(names, return_inverse=True)[1], face) or nothing
    figures = {
        "region_information": region.bits,
        "normalised_region_information": region.bits / region.entropy,
        "region_by_chance": region.chance,
        "patient_information": patient.bits,
        "patient_by_chance": patient.chance,
        "patient_share": (patient.bits - patient.chance) / patient.entropy,
    }
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _subtype_records(survey: Survey) -> list[dict[str, Any]]:
    """One for each sub-type of a class that the patches truly show."""
    if survey.predicted:
        return []
    won = np.sum([patch.subtype_won for patch in survey.patches], 0)
    claimed = np.sum([patch.subtype_claimed for patch in survey.patches], 0)
    records = []
    for index, name in enumerate(survey.names):
        of_class = won[:, survey.class_of == index]
        for face in np.flatnonzero(of_class.any(1)).tolist():
            pixels = int(of_class[face].sum())
            records.append(
                {
                    "name": survey.subtypes[face],
                    "class": name,
                    "pixels": pixels,
                    "claimed": int(claimed[face, index]) / pixels,
                    "shares": (of_class[face] / pixels).tolist(),
                }
            )
    return records


def _by_patient(survey: Survey) -> tuple[Int[np.ndarray, "A SC"], Int[np.ndarray, "A SC"], list[str]]:
    """Claimed and all pixels of each sub-type of a class, per patient, and who they are."""
    patients = sorted({patch.record.patient for patch in survey.patches})
    classes = np.arange(len(survey.names))[:, None] == survey.class_of
    part, whole = (np.zeros((len(patients), len(survey.subtypes) * len(classes)), np.int64) for _ in range(2))
    for patch in survey.patches:
        row = patients.index(patch.record.patient)
        part[row] += patch.subtype_claimed.ravel()
        whole[row] += (patch.subtype_won @ classes.T).ravel()
    return part, whole, patients


def _mean_similarity(survey: Survey, index: int) -> Float[np.ndarray, " N"]:
    """Per patch the mean over pairs of siblings; NaN where the class is not shown, or has one prototype left."""
    own = np.flatnonzero((survey.class_of == index) & survey.live)
    if len(own) < 2:
        return np.full(len(survey.patches), np.nan)
    upper: Bool[np.ndarray, "k k"] = np.triu(np.ones((len(own), len(own)), bool), 1)
    return np.array([patch.similarity[np.ix_(own, own)][upper].mean() for patch in survey.patches])


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _known_mean(values: np.ndarray) -> float | None:
    return _mean(values[~np.isnan(values)].tolist())

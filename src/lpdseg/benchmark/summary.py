"""From runs to the figures of a table: means over seeds, intervals, paired differences. Figures are per cent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpdseg.benchmark.budget import Budget, budget, departures, equal_in_words
from lpdseg.benchmark.config import Config
from lpdseg.benchmark.outcome import Outcome
from lpdseg.benchmark.spread import Spread, seed_interval
from lpdseg.evaluation.bootstrap import Estimate, Interval, mean_miou, paired_difference
from lpdseg.methods.table import METHODS

GATES = ("predicted", "oracle")


@dataclass(frozen=True)
class Row:
    """A variant's figures; None for what there is not.

    - `seeds`: those that are finished.
    - `interval`: of the mean mIoU, over patients and seeds.
    - `difference`: of mIoU to the reference; None for the reference itself.
    - `classes`: IoU by class name.
    - `failure`: why no seed is finished.
    - `notes`: what must be known beside the figures.
    """

    variant: str
    seeds: tuple[int, ...]
    miou: Spread | None
    interval: Interval | None
    difference: Estimate | None
    classes: dict[str, Spread | None]
    minutes: Spread | None
    prediction_ms: Spread | None
    parameters: int | None
    failure: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """The table of one data set and gate. `images`, `patients`: what is scored; None before a run is finished."""

    data: str
    gate: str
    equal: str
    train_patches: int
    train_patients: int
    images: int | None
    patients: int | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Measure:
    """One figure about prototypes, for one variant; `difference` is paired over seeds."""

    value: Spread
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True)
class PrototypeSection:
    """What prototypes cover on one data set: variant → figure → measure; and why a variant has none."""

    data: str
    names: tuple[str, ...]
    rows: dict[str, dict[str, Measure]]
    notes: dict[str, str]


def summarise(config: Config, outcomes: Sequence[Outcome], trained_on: dict[str, tuple[int, int]]) -> list[Section]:
    """A section per data set and gate, the predicted gate first.

    `trained_on` gives the number of training patches and of their patients of each data set.
    """
    return [
        _section(config, [one for one in outcomes if one.run.data == data], data, gate, counts)
        for data, counts in trained_on.items()
        for gate in GATES
    ]


def _section(config: Config, outcomes: Sequence[Outcome], data: str, gate: str, counts: tuple[int, int]) -> Section:
    groups = {
        name: [one for one in outcomes if one.run.variant == name]
        for name, variant in config.variants.items()
        if variant.runs_on(data)
    }
    budgets = {name: budget(group[0].run.settings, counts[0]) for name, group in groups.items()}
    reference = config.reference
    finished = [one for one in outcomes if one.result]
    first = finished[0].record(gate) if finished else None
    return Section(
        data,
        gate,
        equal_in_words(budgets[reference], list(budgets.values())),
        *counts,
        None if first is None else first["images"],
        None if first is None else first["patients"],
        tuple(_row(name, group, groups[reference], gate, budgets, reference) for name, group in groups.items()),
    )


def _row(
    name: str,
    group: Sequence[Outcome],
    base: Sequence[Outcome],
    gate: str,
    budgets: dict[str, Budget],
    reference: str,
) -> Row:
    done = [one for one in group if one.result]
    records = [one.record(gate) for one in done]
    results = [one.result or {} for one in done]
    tissues = list(records[0]["classes"]) if records else []
    estimate = None
    if done:
        estimate = mean_miou(np.stack([one.matrices(gate) for one in done]), len(tissues))
    difference, seeds = _difference(group, base, gate) if name != reference else (None, [])
    failures = [one for one in group if one.failure]
    return Row(
        variant=name,
        seeds=tuple(one.run.seed for one in done),
        miou=Spread.of([record["miou"] for record in records]),
        interval=None if estimate is None else _per_cent(estimate).interval,
        difference=difference,
        classes={c: Spread.of([record["classes"][c]["iou"] for record in records]) for c in tissues},
        minutes=Spread.of([result["training_seconds"] / 60 for result in results]),
        prediction_ms=Spread.of([result["prediction_ms"] for result in results]),
        parameters=results[0]["parameters"] if results else None,
        failure=failures[0].failure if failures and not done else None,
        notes=tuple(_notes(name, group, gate, budgets, reference, seeds)),
    )


def _difference(group: Sequence[Outcome], base: Sequence[Outcome], gate: str) -> tuple[Estimate | None, list[int]]:
    """The paired difference, and the seeds that both have finished."""
    ours = {one.run.seed: one for one in group if one.result}
    theirs = {one.run.seed: one for one in base if one.result}
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return None, seeds
    tissue = len(ours[seeds[0]].record(gate)["classes"])
    one, other = (np.stack([runs[seed].matrices(gate) for seed in seeds]) for runs in (ours, theirs))
    found = _per_cent(paired_difference(one, other, tissue))
    return (found if math.isfinite(found.value) else None), seeds


def _per_cent(estimate: Estimate) -> Estimate:
    ends = estimate.interval
    return Estimate(100 * estimate.value, None if ends is None else (100 * ends[0], 100 * ends[1]))


def _notes(
    name: str, group: Sequence[Outcome], gate: str, budgets: dict[str, Budget], reference: str, paired: list[int]
) -> list[str]:
    notes = []
    if METHODS[group[0].run.settings.method].needs_masks:
        notes.append("learns from the true masks of the training patches: a ceiling, no rival")
    other = departures(budgets[reference], budgets[name])
    if other is not None:
        notes.append(f"budget unlike the reference's: {other}")
    done = [one.run.seed for one in group if one.result]
    if 0 < len(done) < len(group):
        notes.append(f"{_seeds(done)} only")
    if paired and len(paired) < len(done):
        notes.append(f"difference to the reference over {_seeds(paired)}")
    for gate_notes in (one.record(gate).get("notes", ()) for one in group if one.result):
        notes += [note for note in gate_notes if note not in notes]
    if done:
        notes += [f"seed {one.run.seed} failed: {one.failure}" for one in group if one.failure]
    return notes


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def summarise_prototypes(config: Config, outcomes: Sequence[Outcome]) -> list[PrototypeSection]:
    """A section per data set with any such figures."""
    found = []
    for data in dict.fromkeys(one.run.data for one in outcomes):
        groups: dict[str, dict[int, dict[str, float]]] = {}
        notes = {}
        for one in outcomes:
            if one.run.data == data and one.result is not None:
                groups.setdefault(one.run.variant, {})[one.run.seed] = one.measures()
                reason = (one.result.get("coverage") or {}).get("reason")
                if reason is not None:
                    notes[one.run.variant] = reason
        names = tuple(dict.fromkeys(name for group in groups.values() for one in group.values() for name in one))
        base = groups.get(config.reference, {})
        rows = {
            variant: _measures(groups[variant], {} if variant == config.reference else base, names)
            for variant in config.variants
            if variant in groups
        }
        if names:
            found.append(PrototypeSection(data, names, {name: row for name, row in rows.items() if row}, notes))
    return found


def _measures(
    ours: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]], names: Sequence[str]
) -> dict[str, Measure]:
    found = {}
    for name in names:
        value = Spread.of([one.get(name) for one in ours.values()])
        if value is None:
            continue
        both = [
            one[name] - theirs[seed][name]
            for seed, one in ours.items()
            if name in one and name in theirs.get(seed, {})
        ]
        found[name] = Measure(value, float(np.mean(both)) if both else None, seed_interval(both))
    return found

"""What became of a run, as its folder tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from lpdseg.benchmark.job import FAILURE, RESULT
from lpdseg.benchmark.plan import Run
from lpdseg.evaluation.protocol import Record
from lpdseg.files import read_json
from lpdseg.schema import Described, PerCent, Seconds, Whole, fits

_CIRCUMSTANCES = {"patches", "patients", "scale", "temperature"}
"""What a record of coverage says of how it was measured; they are no figures of a method."""


class _Figures(Described):
    iou: PerCent | None


class _Record(Described):
    gate: str
    images: Whole
    patients: Whole
    miou: PerCent | None
    classes: Annotated[dict[str, _Figures], Field(min_length=1)]
    by_patient: Annotated[dict[str, list[list[Whole]]], Field(min_length=1)]
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _square(self) -> Self:
        """Every matrix has the same rows and columns, and as many as there are classes at least."""
        sides = {side for matrix in self.by_patient.values() for side in (len(matrix), *map(len, matrix))}
        if len(sides) != 1 or min(sides) < len(self.classes):
            raise ValueError("matrices of different sizes")
        return self


class _Coverage(Described):
    measures: dict[str, Any] | None = None
    reason: str | None = None


class _Hardware(Described):
    machine: str
    cores: int | None
    cpu_capability: str
    device: str
    threads: Whole


class _Result(Described):
    """`result.json`, as `lpdseg.benchmark.job` writes it."""

    finished: str
    steps: Whole
    parameters: Whole
    training_seconds: Seconds
    prediction_ms: Seconds
    hardware: _Hardware
    versions: dict[str, str]
    code: str
    coverage: _Coverage | None
    subtypes: str | None = None
    records: Annotated[list[_Record], Field(min_length=1)]

    @model_validator(mode="after")
    def _gates(self) -> Self:
        if {"predicted", "oracle"} - {record.gate for record in self.records}:
            raise ValueError("a gate is missing")
        return self


@dataclass(frozen=True)
class Outcome:
    """A run with its result, with the reason why there is none, or with neither: not yet."""

    run: Run
    result: dict[str, Any] | None = None
    failure: str | None = None

    @property
    def status(self) -> str:
        """`finished`, `failed` or `to come`."""
        return "finished" if self.result else "failed" if self.failure else "to come"

    def record(self, gate: str) -> Record:
        """The record of a gate; only of a finished run."""
        assert self.result is not None
        found: Record = next(entry for entry in self.result["records"] if entry["gate"] == gate)
        return found

    def matrices(self, gate: str) -> Int[np.ndarray, "P n n"]:
        """One confusion matrix per patient, in the order of patients' names."""
        by_patient = self.record(gate)["by_patient"]
        return np.array([by_patient[name] for name in sorted(by_patient)], np.int64)

    def measures(self) -> dict[str, float]:
        """The figures that tell what prototypes cover; empty where there are none."""
        coverage = (self.result or {}).get("coverage") or {}
        return {
            name: float(value)
            for name, value in (coverage.get("measures") or {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in _CIRCUMSTANCES
        }


def read_outcome(run: Run, folder: Path) -> Outcome:
    """What the folder of a run holds; files that cannot be read, or hold no result, count as absent."""
    result = _read(folder / RESULT)
    if result is not None and fits(_Result, result):
        return Outcome(run, result=result)
    failure = _read(folder / FAILURE)
    return Outcome(run, failure=None if failure is None else str(failure.get("reason")))


def is_done(outcome: Outcome, coverage: bool, subtypes: str | None) -> bool:
    """Whether there is nothing left to do, given whether coverage is asked for, and of which sub-types.

    These are no part of a run's key, for no training reads them: see `told_subtypes`.
    """
    found = (outcome.result or {}).get("coverage")
    return outcome.result is not None and (
        not coverage or (found is not None and outcome.result.get("subtypes") == subtypes)
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None

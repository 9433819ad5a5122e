"""Hand-made runs and results: figures that can be worked out on paper."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lpdseg.benchmark.config import Config
from lpdseg.benchmark.outcome import Outcome
from lpdseg.benchmark.plan import Run
from lpdseg.evaluation import Protocol, record
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses


@pytest.fixture
def config() -> Callable[..., Config]:
    """A benchmark of two variants on one data set; changes stand above."""

    def make(**changes: Any) -> Config:
        values: dict[str, Any] = {
            "name": "hand made",
            "seeds": [0, 1],
            "reference": "LPD",
            "data": {"tiles": {"path": "tiles"}},
            "variants": {"LPD": {}, "CAM": {"set": ["loss.contrast.weight=0"]}},
        }
        return Config.model_validate(values | changes)

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """A finished run in which `hits` of 100 pixels of each class are found, for each of the patients p0, p1, …"""

    def make(variant: str, seed: int, hits: list[int], settings: tuple[str, ...] = (), **changes: Any) -> Outcome:
        classes = TissueClasses(("A", "B"))
        matrices = np.array([[[hit, 100 - hit], [100 - hit, hit]] for hit in hits], np.int64)
        patients = [f"p{number}" for number in range(len(hits))]
        result = {
            "title": "",
            "finished": "2026-11-20T10:00:00+00:00",
            "split": "valid",
            "steps": 30,
            "parameters": 2_500_000,
            "training_seconds": 60.0 * (seed + 1),
            "prediction_ms": 8.0,
            "data": {"fingerprint": "f", "patches": {"train": 40}, "patients": {"train": 4}},
            "hardware": {
                "machine": "x86_64", "cores": 2, "cpu_capability": "AVX2", "device": "cpu", "threads": 1,
            },
            "versions": {"lpdseg": "1.2.3", "torch": "2.13.0", "python": "3.11"},
            "code": "abc",
            "coverage": None,
            "records": [
                record(Protocol("valid", gate), classes, matrices, 7, patients=patients, resamples=10)
                for gate in ("predicted", "oracle")
            ],
        }  # fmt: skip
        fixed = ("model.encoder=pvt_v2_b1", "model.weights=null", "train.batch=10")  # whatever the defaults are
        run = Run("tiles", variant, seed, load_settings(None, [*fixed, *settings]), f"{variant}{seed}")
        return Outcome(run, result=result | changes)

    return make

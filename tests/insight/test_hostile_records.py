"""Whatever the files beside a run's checkpoints say, they are read or refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changing import mutated
from lpdseg.benchmark import page
from lpdseg.benchmark.outcome import read_outcome
from lpdseg.benchmark.plan import Run
from lpdseg.benchmark.spread import Spread
from lpdseg.data.cut_slides import read_sources
from lpdseg.errors import LpdsegError
from lpdseg.insight.run_record import data_of, read_run
from lpdseg.settings import load_settings
from lpdseg.training.changes import CHANGES, read_changes
from lpdseg.training.metrics import read_metrics
from lpdseg.training.regions import FILE, read_regions
from lpdseg.training.start import FROM, read_labels
from lpdseg.workflows.slides.state import FORMAT, read_state

SHA = "0" * 64
RUN = Run("data", "variant", 0, load_settings(), "key")
PAIR = {"before": 50.0, "after": 51.5, "difference": 1.5, "interval": [-1.0, 2.0]}
VALID: dict[str, Any] = {
    "run.json": {
        "status": "finished", "started": "2026-01-01", "settings": {}, "seed": 0, "steps": 4, "seconds": 9.5,
        "data": {"source": "x.csv", "fingerprint": "ab", "patches": {"train": 3}, "patients": {"train": 2}},
        "versions": {"torch": "2.13"}, "hardware": {"device": "cpu", "cores": 2}, "losses": {"loss": "total"},
        "weights": {"weights": "random"}, "valid_miou": 50.5, "parameters": 5,
    },
    CHANGES: {
        "from": "runs/a", "split": "valid", "patients": 2, "notes": ["n"], "miou": PAIR, "classes": {"a": PAIR},
        "changed": [{"patient": "p", "split": "valid", "patches": 3, "share": 5.0, "held": None}],
        "corrected": {"pixels": 9, "before": 5.0, "after": 6.0, "classes": {"a": {"pixels": 9, "before": 5.0,
                                                                                "after": None}}},
        "taught": {"strokes": 1, "areas": 2, "patches": 1, "labelled": 0, "other_label": 0,
                   "slides": [{"slide": "s.svs", "split": "valid", "patient": "p", "patches": 2}]}, "test": False,
    },
    FROM: {
        "run": "runs/a", "labels": {"a.png": "01", "b.png": None},
        "learnt": {"images": [SHA], "patients": {"valid": []}},
        "edits": {"file": "e.yaml", "sha256": SHA, "said": {"a 1": {"hide": True}}},
        "corrections": {"file": "c.geojson", "sha256": SHA},
    },
    FILE: {
        "format": 1, "root": "data",
        "prototypes": [{"name": "a", "number": 1, "retired": False, "share": 0.5, "regions": [
            {"path": "a.png", "patient": "p", "box": [0, 1, 2, 3], "share": 0.1, "strength": 0.9}]}],
    },
    "slides.json": {"s": {"path": "s.svs", "slide": {"sha256": SHA}, "scale": [1.0, 1.0], "origin": [0, 0]}},
    "states/s.json": {
        "format": FORMAT, "path": "s.svs", "status": "finished", "slide": {"sha256": SHA}, "settings": {},
        "outputs": {"geojson": {"bytes": 1, "sha256": SHA, "options": {}}}, "notes": [], "tissue_share": 0.5,
        "windows": 3, "windows_per_second": 1.5, "waiting_share": 0.1, "earlier": {},
        "areas": [{"name": "a", "pixels": 3, "mm2": None, "percent": 100.0}],
    },
    "result.json": {
        "finished": "2026-01-01", "steps": 4, "parameters": 5, "training_seconds": 9.5, "prediction_ms": 1.5,
        "hardware": {"machine": "x", "cores": 2, "cpu_capability": "AVX2", "device": "cpu", "threads": 1},
        "versions": {"torch": "2.13"}, "code": "ab", "coverage": {"measures": {"dead": 1}},
        "records": [
            {"gate": gate, "images": 3, "patients": 1, "miou": 50.0, "classes": {"a": {"iou": 50.0}},
             "notes": ["n"], "by_patient": {"p": [[1, 2], [3, 4]], "q": [[0, 0], [0, 0]]}}
            for gate in ("predicted", "oracle")
        ],
    },
}  # fmt: skip


def _used(folder: Path) -> dict[str, Any] | None:
    """A result, as tables use it; one that is none counts as absent."""
    found = read_outcome(RUN, folder)
    if found.result is not None:
        assert found.status == "finished" and isinstance(found.measures(), dict)
        for gate in ("predicted", "oracle"):
            tissues = list(found.record(gate)["classes"])
            matrices = found.matrices(gate)
            assert matrices.shape[1] == matrices.shape[2] >= len(tissues) > 0
            spreads = [Spread.of([found.record(gate)["classes"][name]["iou"]]) for name in tissues]
            assert spreads and isinstance(
                found.record(gate)["images"] + found.result["training_seconds"], int | float
            )
        assert page._machine(found.result["hardware"]) and page._versions(found.result["versions"]) is not None
        assert page._code([found.result["code"]]) and found.result["finished"][:10] <= "~"
    return found.result


READ: dict[str, Callable[[Path], object]] = {
    "run.json": lambda folder: (read_run(folder), data_of(folder)),
    CHANGES: read_changes,
    FROM: read_labels,
    FILE: read_regions,
    "slides.json": read_sources,
    "states/s.json": lambda folder: read_state(folder, "s"),
    "result.json": _used,
}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (folder / "x.csv").touch()
    return folder


@pytest.mark.parametrize("name", READ)
def test_what_is_right_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert READ[name](written(tmp_path, name, json.dumps(VALID[name])))


@pytest.mark.parametrize("name", READ)
@given(data=st.data())
def test_any_change_is_read_or_a_sentence(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    try:
        READ[name](written(folder, name, json.dumps(data.draw(mutated(VALID[name])))))
    except LpdsegError as error:
        assert "\n" not in str(error) and len(str(error)) <= 500 and str(error).encode()


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("text", ["[" * 10**5, "\xff", "5", "[]", "null", '"x"', "{", "9" * 9999, '{"a": 1e999}'])
def test_what_is_no_record_is_absent_or_a_sentence(name: str, text: str, tmp_path: Path) -> None:
    (written(tmp_path, name, "") / name).write_bytes(text.encode("latin-1"))
    try:
        assert not READ[name](tmp_path) or name == "result.json"
    except LpdsegError as error:
        assert "\n" not in str(error) and len(str(error)) <= 500


@pytest.mark.parametrize(
    "line",
    ["5", '{"kind": "x", "step": 1}', '{"kind": "train", "step": "1"}', '{"kind": "train", "step": 1, "a": []}'],
)
def test_rows_end_before_one_that_is_none(line: str, tmp_path: Path) -> None:
    row = '{"kind": "train", "step": 1, "loss": 0.5, "f1": null}\n'
    (tmp_path / "metrics.jsonl").write_text(row + line + "\n" + row)
    assert read_metrics(tmp_path) == [json.loads(row)]

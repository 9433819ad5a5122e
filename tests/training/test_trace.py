"""The trace of some steps: which ones, and that it is one that viewers read."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lpdseg import api
from lpdseg.training.trace import traced
from noting import Notes


@pytest.mark.parametrize(
    ("step", "total", "expected"), [(0, 80, range(50, 60)), (7, 12, range(7, 12)), (0, 55, range(45, 55))]
)
def test_ten_steps_are_traced_once_the_machine_has_settled(
    tmp_path: Path, step: int, total: int, expected: range
) -> None:
    reporter, seen = Notes(), []
    for batch in traced(iter(range(step, total)), tmp_path, step, total, reporter):
        seen.append(batch)
        with torch.profiler.record_function(f"step {batch}"):
            torch.ones(2).sum()
    assert seen == list(range(step, total))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    found = {event["name"] for event in events if event["name"].startswith("step ")}
    assert found == {f"step {number}" for number in expected}
    assert (
        f"steps {expected[0] + 1} to {expected[-1] + 1} are traced in {tmp_path / 'trace.json'}"
        in reporter.notes[0]
    )


def test_training_leaves_a_trace_and_ends_with_the_same_parameters(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, small_run: Path
) -> None:
    reporter = Notes()
    asked = [*small_settings, "train.profile=true"]
    run = tmp_path / "run"
    api.train(small_data, run, classes="pink,blue", overrides=asked, device="cpu", reporter=reporter)
    events = json.loads((run / "trace.json").read_text())["traceEvents"]
    assert sum("convolution_backward" in event["name"] for event in events) > 6
    assert any(str(run / "trace.json") in note for note in reporter.notes)
    weights = [load_file(sorted(folder.glob("checkpoints/weights*"))[-1]) for folder in (run, small_run)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

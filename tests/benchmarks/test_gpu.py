"""`benchmarks/gpu.py`: every row, at its smallest and on a CPU, and what its clocks count."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.mark.e2e
def test_every_row_can_be_measured_without_a_card(
    load_benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    gpu = load_benchmark("gpu")
    gpu.main(["--small", "--device", "cpu", "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    for title in (
        "TFLOP/s in float32",
        "Published recipe",
        "Training, 56 px",
        "Validation",
        "Slides",
        "Same results",
    ):
        assert title in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    measured = {row[0]: row[1:] for row in rows}
    assert all(float(measured[name][0]) > 0 for name in ("reference, float32", "ours, bf16-mixed, chunk 8"))
    assert {"bcss, resnet18, 2", "demo, resnet18, 2", "6", "resnet18"} <= measured.keys()
    assert measured["resnet18"][0] == "49", "windows of a slide"
    assert rows[-1][0] == "0.00e+00" and rows[-1][2] == "100.0000%", "the device was the CPU itself"


def test_spans_that_lie_over_each_other_count_once(
    load_benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = load_benchmark("gpu_clock")
    assert clock.covered([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0), (1.5, 1.75)]) == 4.0
    assert clock.covered([]) == 0


def test_a_watched_training_is_timed_after_it_has_settled(
    load_benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = load_benchmark("gpu_clock")
    now = [0.0]
    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])
    watch = clock.Watch(torch.device("cpu"), settled=2, count=4)
    assert watch.steps == 6
    for done in range(1, 7):
        now[0] += 100 if done <= 2 else 3
        if done % 2 == 0:
            watch.pace(1.0, {2: 0.9, 4: 0.1, 6: 0.3}[done])
        watch.step(done, None)
    assert watch.found == clock.Watched(3.0, pytest.approx(0.2), None)

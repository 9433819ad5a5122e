import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lpdseg import api
from lpdseg.durations import Pacer
from lpdseg.training.progress import Bar, Lines, Silent, bar_or_lines


class Figures(Silent):
    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.paces: list[tuple[float, float]] = []

    def pace(self, patches: float, waiting: float) -> None:
        self.paces.append((patches, waiting))

    def figures(self, step: int, values: dict[str, float]) -> None:
        self.told.append((step, values))


def test_lines_say_losses_and_the_time_left_every_minute() -> None:
    now = [0.0]
    text = io.StringIO()
    lines = Lines(Console(file=text, width=20), Pacer(clock=lambda: now[0]))
    lines.start(100, 400)
    for step in range(101, 200):
        now[0] += 2
        if step == 160:
            lines.pace(8.25, 0.031)
        lines.step(step, {"loss": 1.5 - step / 1000, "[map]": 0.25} if step % 10 == 0 else None)
    lines.note("a note")
    assert text.getvalue().splitlines() == [
        "training: 400 steps, of which 100 are done",
        "step 105/400, 10 min left",
        "step 135/400, 9 min left  loss 1.370  [map] 0.250",
        "step 165/400, 8 min left  8.2 patches/s, waiting 3%  loss 1.340  [map] 0.250",
        "step 195/400, 7 min left  8.2 patches/s, waiting 3%  loss 1.310  [map] 0.250",
        "a note",
    ]


def test_a_terminal_has_a_bar_and_a_log_has_lines() -> None:
    assert isinstance(bar_or_lines(Console(file=io.StringIO(), force_terminal=True)), Bar)
    assert isinstance(bar_or_lines(Console(file=io.StringIO())), Lines)


def test_the_bar_shows_the_pace_before_the_losses() -> None:
    text = io.StringIO()
    bar = Bar(Console(file=text, force_terminal=True, width=160))
    bar.start(0, 2)
    bar.pace(1208.4, 0.0)
    bar.step(1, {"loss": 0.5})
    bar.stop()
    assert "1208 patches/s, waiting 0%  loss 0.500" in text.getvalue()


def test_figures_reach_a_reporter_as_they_are_written(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    reporter = Figures()
    run = tmp_path / "run"
    api.train(small_data, run, classes="pink,blue", overrides=small_settings, device="cpu", reporter=reporter)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    written = [
        (row.pop("step"), {f"{kind}/{name}": value for name, value in row.items()})
        for row in rows
        if (kind := row.pop("kind"))
    ]
    assert reporter.told == written and len(written) > 2
    assert len(reporter.paces) == sum("train/loss" in values for _, values in written)
    assert all(patches > 0 and 0 <= waiting < 1 for patches, waiting in reporter.paces)
    names = {name for _, values in written for name in values}
    assert {"train/loss", "train/lr", "valid/miou", "valid/mdice", "valid/image_f1"} <= names


def test_tensorboard_reads_what_was_written(small_run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(small_run / "tensorboard"))
    board.Reload()
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    for tag, kind, name in (("train/loss", "train", "loss"), ("valid/miou", "valid", "miou")):
        expected = [(row["step"], row[name]) for row in rows if row["kind"] == kind]
        found = [(event.step, event.value) for event in board.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert all(abs(a - b) < 1e-4 * max(1, abs(b)) for (_, a), (_, b) in zip(found, expected, strict=True))


def test_the_reporter_of_the_documentation_runs(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "tracking.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(code, names)
    reporter = names["Printed"]()
    asked = [*small_settings, "train.epochs=0.4"]
    api.train(small_data, tmp_path / "run", classes="pink,blue", overrides=asked, device="cpu", reporter=reporter)
    assert "1 train/loss " in capsys.readouterr().out

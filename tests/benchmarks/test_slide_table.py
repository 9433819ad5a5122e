"""Benchmarks of slides: what they are asked, the table they write, and the model that sleeps."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.plan import Segment

LoadBenchmark = Callable[[str], ModuleType]


@pytest.fixture(autouse=True)
def beside_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


def test_a_row_for_each_slide_which_is_drawn_once(
    load_benchmark: LoadBenchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slide_table = load_benchmark("slide_table")
    drawn: list[str] = []

    def draw(path: Path, side: int, full: bool) -> None:
        drawn.append(f"{path.name} {side} {full}")
        path.write_text("")

    monkeypatch.setattr(slide_table, "draw_slide", draw)
    words = ["--sides", "30", "20", "--rate", "7", "--folder", str(tmp_path / "x"), "--out", str(tmp_path / "a.md")]
    monkeypatch.setattr(sys, "argv", ["slides.py", *words])
    options = slide_table.options_of("about", [5], overlap=0.25, rate=1)
    assert (options.overlap, options.rate, options.sides) == (0.25, 7, [30, 20])
    for full in (False, True, True):
        slide_table.tell(
            options, "T", "About.", ("side", "name"), lambda side, slide: [str(side), slide.name], full=full
        )
    assert drawn == ["30.tif 30 False", "20.tif 20 False", "full-30.tif 30 True", "full-20.tif 20 True"]
    table = "| side | name |\n|---:|---:|\n| 30 | full-30.tif |\n| 20 | full-20.tif |\n"
    assert capsys.readouterr().out.endswith(table)
    assert (tmp_path / "a.md").read_text() == f"# T\n\nAbout.\n\n{table}"


def test_the_model_that_sleeps_takes_a_batch_at_once_and_computes_one_after_another(
    load_benchmark: LoadBenchmark, segmenter: Segmenter
) -> None:
    model = load_benchmark("slides_asleep").Asleep(segmenter, rate=20)
    segment, pixels = Segment(0, 0, (0, 8)), np.zeros((32, 40, 3), np.uint8)
    began = time.monotonic()
    fetches = [model.begin(pixels, segment) for _ in range(3)]
    taken = time.monotonic() - began
    assert [fetch().values.shape for fetch in fetches] == [(3, 32, 40)] * 3
    assert time.monotonic() - began >= 0.29 > taken
